// The page against the program with its built-in model.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launch, open, SAMPLES } from './browser';
import { Server } from './server';

let browser: Browser;
let server: Server;
const STARS = /2 red five-pointed stars/;

beforeAll(async () => {
  [browser, server] = await Promise.all([launch(), Server.glimpse()]);
});
afterAll(async () => {
  await browser?.close();
  await server?.kill();
});

describe('asking about pictures', () => {
  test('a picture is received and seen while the question is typed; the answer comes with its account', async () => {
    const t = await open(browser, server.url);
    await t.choose('03_describe.png');
    await t.thumbs('ready').waitFor();
    await t.ask('Describe the picture.');
    expect(await t.answer()).toMatch(STARS);

    await t.page.locator('.account').click();
    await t.page.locator('.waterfall .name').first().waitFor(); // it is loaded when it is asked for
    const names = await t.page.locator('.waterfall .name').allInnerTexts();
    for (const name of ['pick', 'upload', 'vision', 'prefill', 'decode', 'render']) expect(names).toContain(name);
    // The vision tower was done before Enter.
    const bars = await t.page.evaluate(() => {
      const left = (row: string) => {
        const name = [...document.querySelectorAll('.waterfall .name')].find((n) => n.textContent === row)!;
        return name.nextElementSibling!.querySelector('.bar')!.getBoundingClientRect();
      };
      return { vision: left('vision').right, enter: document.querySelector('.tick.zero')!.getBoundingClientRect().left };
    });
    expect(bars.vision).toBeLessThanOrEqual(bars.enter + 2);
    await t.close();
  });

  test('several pictures are dropped at once', async () => {
    const t = await open(browser, server.url);
    await t.transfer('drop', '13_comparea.png', '13_compareb.png');
    await expect.poll(() => t.thumbs('ready').count()).toBe(2);
    await t.ask('What is different between the two images?');
    expect(await t.answer()).toMatch(/background changed from gray to yellow/);
    await t.close();
  });

  test('a picture is pasted; Enter before it is sent asks all the same', async () => {
    const t = await open(browser, server.url);
    await t.transfer('paste', '07_ocr.png');
    await t.ask('What does it say?');
    expect((await t.answer()).split('\n')).toEqual(['Wizards', 'Modified', 'E3760']);
    await t.close();
  });

  test('an example asks with one click, and its place is drawn on the picture', async () => {
    const t = await open(browser, server.url);
    const sent = t.sent();
    await t.page.locator('[data-example=tap]').click();
    expect(await t.answer()).toMatch(/^do\(action="Tap", element=\[\d+,\d+\]\)$/);
    await t.page.locator('.prose .place').click();
    await t.page.locator('svg .place.chosen').waitFor();
    expect(sent.filter((type) => type !== 'clock')).toEqual(['image', 'chat']); // no draft beside the question itself
    await t.close();
  });

  test('every example answers in both languages', async () => {
    for (const locale of ['en-US', 'zh-CN']) {
      const t = await open(browser, server.url, { locale });
      const names = await t.page.locator('[data-example]').evaluateAll((all) => all.map((e) => e.getAttribute('data-example')));
      for (const name of names) {
        await t.page.locator(`[data-example=${name}]`).click();
        expect((await t.answer()).length, `${name} ${locale}`).toBeGreaterThan(1);
        await t.page.locator('nav .new').click();
      }
      await t.close();
    }
  });

  test('thoughts are shown collapsed', async () => {
    const t = await open(browser, server.url);
    await t.choose('05_count.png');
    await t.page.locator('.think').click();
    await t.ask('Hey, count the corn');
    expect(await t.answer()).toMatch(/6 corn/);
    expect(await t.page.locator('.thoughts').evaluate((d: HTMLDetailsElement) => d.open)).toBe(false);
    expect(await t.page.locator('.thoughts p').textContent()).toMatch(/I see 6 corn/);
    await t.close();
  });

  test('a follow-up, asking again, and editing the first question', async () => {
    const t = await open(browser, server.url);
    await t.choose('03_describe.png');
    await t.ask('Describe the picture.');
    const first = await t.answer();
    await t.ask('How many stars are there?');
    await t.answer();
    expect(await t.page.locator('article.turn').count()).toBe(2);

    await t.page.locator('article.turn').first().getByLabel('Ask again').click();
    await expect.poll(() => t.page.locator('article.turn').count()).toBe(1);
    expect(await t.answer()).toBe(first);

    await t.page.getByLabel('Edit', { exact: true }).first().click();
    await t.ask('Describe the image.');
    await t.answer();
    expect(await t.page.locator('section.turn').innerText()).toContain('Describe the image.');
    expect(await t.page.locator('article.turn').count()).toBe(1);
    await t.close();
  });
});

describe('what goes wrong says what to do', () => {
  test('a file that is no picture', async () => {
    const t = await open(browser, server.url);
    await t.chooseBytes('broken.png', 'image/png', Buffer.from('this is not a picture at all'));
    await t.thumbs('failed').waitFor();
    expect(await t.page.locator('.thumbs .error').innerText()).toMatch(/JPEG, PNG and WebP/);
    await t.page.getByLabel('Remove broken.png').click();
    await t.choose('03_describe.png');
    await t.ask('Describe the picture.');
    expect(await t.answer()).toMatch(STARS);
    await t.close();
  });

  test('a picture cut short', async () => {
    const t = await open(browser, server.url);
    const whole = readFileSync(join(SAMPLES, '03_describe.png'));
    await t.chooseBytes('cut.png', 'image/png', whole.subarray(0, 9000));
    await t.thumbs('failed').waitFor();
    await t.close();
  });
});

describe('conversations', () => {
  test('are kept, opened again with their pictures, continued and exported', async () => {
    const t = await open(browser, server.url);
    await t.choose('03_describe.png');
    await t.ask('Describe the picture.');
    await t.answer();
    await t.page.reload();
    await t.page.locator('.dot.open').waitFor();
    await t.page.locator('nav .open-one').first().click();
    expect(await t.answer()).toMatch(STARS);
    expect(await t.page.locator('section.turn img').count()).toBe(1);
    await t.ask('How many stars are there?');
    await t.answer();
    const waiting = t.page.waitForEvent('download');
    await t.page.getByLabel('Export as JSON').click();
    const exported = JSON.parse(readFileSync(await (await waiting).path(), 'utf8'));
    expect(exported.turns.map((turn: { role: string }) => turn.role)).toEqual(['user', 'assistant', 'user', 'assistant']);
    await t.page.locator('nav li').first().hover();
    await t.page.locator('nav .remove').first().click();
    await expect.poll(() => t.page.locator('nav .open-one').count()).toBe(0);
    await t.close();
  });
});

describe('what the page shows of the server', () => {
  test('the trace file holds page and server', async () => {
    const t = await open(browser, server.url);
    await t.page.locator('[data-example=describe]').click();
    await t.answer();
    await t.page.locator('.account').click();
    const waiting = t.page.waitForEvent('download');
    await t.page.locator('.trace').click();
    const { traceEvents } = JSON.parse(readFileSync(await (await waiting).path(), 'utf8'));
    const names = traceEvents.map((event: { name: string }) => event.name);
    for (const name of ['pick', 'upload', 'render', 'prefill']) expect(names).toContain(name);
    await t.close();
  });

  test('the live panel shows requests and charts', async () => {
    const t = await open(browser, server.url);
    await t.page.getByLabel('Live server figures').first().click();
    await t.page.locator('.live dd').first().waitFor();
    await expect.poll(() => t.page.locator('.live canvas').count()).toBe(2);
    expect(await t.page.locator('.live dt').allInnerTexts()).toEqual(expect.arrayContaining(['running', 'waiting', 'KV cache', 'RAM']));
    await t.close();
  });

  test('page and API are compared over the five tasks', async () => {
    const t = await open(browser, server.url);
    await t.page.getByLabel('Compare page and API').click();
    await t.page.getByLabel('Runs').fill('1');
    await t.page.locator('dialog .primary').click();
    await t.page.locator('dialog .link').waitFor(); // "Numbers as JSON" comes with the end
    const cells = await t.page.locator('dialog tbody td').allInnerTexts();
    expect(cells).toHaveLength(5 * 8);
    expect(cells.every((cell) => /\d/.test(cell))).toBe(true);
    expect(await t.page.locator('dialog .warning').count()).toBe(0); // prompts are equal
    await t.close();
  });
});
