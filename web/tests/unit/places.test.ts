import { expect, test } from 'vitest';
import { markPlaces } from '../../src/answer/mark';
import { findPlaces } from '../../src/answer/places';

test('taps, swipes and boxes are found where they stand', () => {
  const text = 'First do(action="Tap", element=[500,116]) then [[1,2,30,40],[5,6,70,80]] and do(action="Swipe", start=[1,2], end=[3,4]).';
  const found = findPlaces(text);
  expect(found.map(({ place }) => place)).toEqual([
    { kind: 'tap', x: 500, y: 116, action: 'Tap' },
    { kind: 'box', x1: 1, y1: 2, x2: 30, y2: 40 },
    { kind: 'box', x1: 5, y1: 6, x2: 70, y2: 80 },
    { kind: 'swipe', x1: 1, y1: 2, x2: 3, y2: 4 },
  ]);
  expect(text.slice(found[0]!.begin, found[0]!.end)).toBe('do(action="Tap", element=[500,116])');
  expect(text.slice(found[1]!.begin, found[1]!.end)).toBe('[[1,2,30,40]');
});

test('long press with a message is a tap by another name', () => {
  const [found] = findPlaces('do(action="Long Press", element=[1, 2], message="hold")');
  expect(found!.place).toEqual({ kind: 'tap', x: 1, y: 2, action: 'Long Press' });
});

test('what lies outside the picture, or is no box, is text', () => {
  expect(findPlaces('[1200,1,2,3] [5,5,4,9] [1,2] [1,2,3] do(action="Back") do(action="Tap", element=[2000,1])')).toEqual([]);
});

test('hostile text is bounded', () => {
  expect(findPlaces('[1,2,3,4]'.repeat(100_000)).length).toBe(200);
  expect(findPlaces('[[['.repeat(50_000))).toEqual([]);
  expect(findPlaces('do(action="' + 'a'.repeat(100_000))).toEqual([]);
});

test('places in a finished answer become buttons that tell their number', () => {
  const root = document.createElement('div');
  root.innerHTML = '<p>See [[1,2,30,40]] and <code>do(action="Tap", element=[5,6])</code>.</p>';
  const chosen: number[] = [];
  markPlaces(root, (index) => chosen.push(index));
  const buttons = [...root.querySelectorAll('button')];
  expect(buttons.map((b) => b.textContent)).toEqual(['[[1,2,30,40]]', 'do(action="Tap", element=[5,6])']);
  buttons[1]!.click();
  expect(chosen).toEqual([1]);
  expect(root.textContent).toBe('See [[1,2,30,40]] and do(action="Tap", element=[5,6]).');
});
