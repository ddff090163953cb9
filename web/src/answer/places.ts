// Places that an answer names in a picture. GLM models give them in thousandths of the picture's width and height
// (0-999), whatever its size:
//   boxes   [[x1,y1,x2,y2]], [x1,y1,x2,y2]
//   taps    do(action="Tap", element=[x,y])
//   swipes  do(action="Swipe", start=[x,y], end=[x,y])

export type Place =
  | { kind: 'box'; x1: number; y1: number; x2: number; y2: number }
  | { kind: 'tap'; x: number; y: number; action: string }
  | { kind: 'swipe'; x1: number; y1: number; x2: number; y2: number };

export interface PlaceInText {
  place: Place;
  begin: number; // range of the text that spells it
  end: number;
}

const NUMBER = String.raw`\s*(\d{1,4})\s*`;
// The brackets of a list around the boxes go with the first and the last of them.
const BOX = String.raw`\[?\[${NUMBER},${NUMBER},${NUMBER},${NUMBER}\]\]?`;
const POINT = String.raw`\[${NUMBER},${NUMBER}\]`;
const PATTERN = new RegExp(
  [
    String.raw`do\(\s*action\s*=\s*"([^"\n]{1,40})"\s*,\s*element\s*=\s*${POINT}[^)\n]{0,200}\)`, // 1 action, 2-3
    String.raw`do\(\s*action\s*=\s*"Swipe"\s*,\s*start\s*=\s*${POINT}\s*,\s*end\s*=\s*${POINT}[^)\n]{0,200}\)`, // 4-7
    BOX, // 8-11
  ].join('|'),
  'g',
);
const MAX_PLACES = 200;

export function findPlaces(text: string): PlaceInText[] {
  const found: PlaceInText[] = [];
  for (const match of text.matchAll(PATTERN)) {
    const place = placeOf(match);
    if (place) found.push({ place, begin: match.index, end: match.index + match[0].length });
    if (found.length === MAX_PLACES) break;
  }
  return found;
}

function placeOf(match: RegExpMatchArray): Place | null {
  const values = match.slice(1).map((group) => (group === undefined ? NaN : Number(group)));
  const inside = (...numbers: number[]) => numbers.every((value) => value <= 1000);
  const [, x, y, sx, sy, ex, ey, bx1, by1, bx2, by2] = values as [number, ...number[]] as number[];
  if (match[1] !== undefined) {
    return inside(x!, y!) ? { kind: 'tap', x: x!, y: y!, action: match[1] } : null;
  }
  if (match[4] !== undefined) {
    return inside(sx!, sy!, ex!, ey!) ? { kind: 'swipe', x1: sx!, y1: sy!, x2: ex!, y2: ey! } : null;
  }
  if (!inside(bx1!, by1!, bx2!, by2!) || bx2! <= bx1! || by2! <= by1!) return null;
  return { kind: 'box', x1: bx1!, y1: by1!, x2: bx2!, y2: by2! };
}
