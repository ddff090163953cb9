// Answers of every kind, from the scripted engine behind the real server.

import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launch, open } from './browser';
import { LONG_ANSWER } from './long_answer';
import { Server } from './server';

const TABLE = '| a | b |\n| --- | --- |\n| 1 | 2 |\n\n```python\nprint("hi")\n```\n\nInline $x^2$ and **bold** <img src=x onerror=alert(1)>';

let browser: Browser;
let server: Server;
beforeAll(async () => {
  [browser, server] = await Promise.all([
    launch(),
    Server.scripted([
      // The conversation so far is part of what `when` looks at: later questions stand first.
      { when: 'anything', text: '<think>Let me look.</think>\nFine.' },
      { when: 'markup', text: `<think></think>\n${TABLE}`, per_token_ms: 2 },
      { when: 'slowly', text: '<think></think>\nword ', repeat: 1, per_token_ms: 30, first_ms: 10 },
      { when: 'ever', text: `<think></think>\n${'and on '.repeat(3000)}`, per_token_ms: 10 },
      { when: 'long', text: `<think></think>\n${LONG_ANSWER}`, per_token_ms: 0.5 },
      { when: 'boxes', text: '<think></think>\nThe cats are at <|begin_of_box|>[[10,20,300,400],[500,600,700,800]]<|end_of_box|>.' },
      {
        when: 'weather',
        text:
          '<think></think>\nI look.\n<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n' +
          '<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>',
        per_token_ms: 1,
      },
      { when: 'limit', text: '<think></think>\nOnce upon a time', finish: 'length' },
      { when: 'nothing', text: '<think></think>\n' },
    ]),
  ]);
});
afterAll(async () => {
  await browser?.close();
  await server?.kill();
});

test('markup, code colours and formulas are shown, raw HTML is text', async () => {
  const t = await open(browser, server.url);
  await t.ask('markup please');
  await t.answer();
  expect(await t.page.locator('.prose td').allInnerTexts()).toEqual(['1', '2']);
  await t.page.locator('.prose pre .hljs-string').waitFor();
  await t.page.locator('.prose .katex').first().waitFor();
  expect(await t.page.locator('.prose img').count()).toBe(0);
  expect(await t.page.locator('.prose').innerText()).toContain('<img src=x onerror=alert(1)>');
  await t.close();
});

test('an answer is stopped at once and the next question goes on from it', async () => {
  const t = await open(browser, server.url);
  await t.ask('go on for ever');
  await expect.poll(async () => (await t.page.locator('.prose').innerText()).length).toBeGreaterThan(40);
  await t.page.locator('.send[aria-label="Stop the answer"]').click();
  const stopped = await t.answer();
  expect(await t.page.locator('.note').innerText()).toBe('Stopped.');
  await t.page.waitForTimeout(300);
  expect(await t.answer()).toBe(stopped);
  const running = async () => ((await (await fetch(`${server.url}/load`)).json()) as { running: number }).running;
  await expect.poll(running).toBe(0); // the engine has let go of it too
  await t.ask('anything');
  expect(await t.answer()).toBe('Fine.');
  await t.close();
});

test('Escape stops as well', async () => {
  const t = await open(browser, server.url);
  await t.ask('go on for ever');
  await expect.poll(async () => (await t.page.locator('.prose').innerText()).length).toBeGreaterThan(10);
  await t.page.keyboard.press('Escape');
  await t.page.locator('.note').waitFor();
  await t.close();
});

test('boxes are drawn and chosen in the text and on the picture', async () => {
  const t = await open(browser, server.url);
  await t.choose('03_describe.png');
  await t.ask('boxes');
  await t.answer();
  expect(await t.page.locator('figure svg rect').count()).toBe(2);
  await t.page.locator('.prose .place').nth(1).click();
  expect(await t.page.locator('svg g.chosen').getAttribute('aria-label')).toBe('Box 2');
  await t.page.locator('svg g').first().click();
  await t.page.locator('.prose .place[aria-pressed=true]').first().waitFor();
  expect(await t.page.locator('svg g.chosen').getAttribute('aria-label')).toBe('Box 1');
  await t.close();
});

test('tools are given in the settings, and calls are shown', async () => {
  const t = await open(browser, server.url);
  await t.page.getByRole('button', { name: 'Settings', exact: true }).click();
  const tools = t.page.getByLabel('Tools');
  await tools.fill('[{"type": "function"');
  expect(await t.page.locator('#tools-hint').innerText()).toContain('no JSON array');
  await tools.fill(
    '[{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}}]',
  );
  await t.page.keyboard.press('Escape');
  await t.ask('weather in Paris');
  expect(await t.answer()).toBe('I look.');
  expect(await t.page.locator('.tool summary code').innerText()).toBe('get_weather');
  expect(JSON.parse(await t.page.locator('.tool pre').innerText())).toEqual({ city: 'Paris', days: 3 });
  await t.close();
});

test('an answer that reached its limit and an empty one say so', async () => {
  const t = await open(browser, server.url);
  await t.ask('limit');
  await t.answer();
  expect(await t.page.locator('.note').last().innerText()).toMatch(/limit of answer tokens/);
  await t.page.locator('nav .new').click();
  await t.ask('nothing');
  await t.answer();
  expect(await t.page.locator('.note').last().innerText()).toMatch(/without a word/);
  await t.close();
});

// How smooth it is measures bench/page; here: it is complete, and what was finished is never touched again.
test('an answer of 4,000 tokens is complete, and finished blocks are never rendered again', async () => {
  const t = await open(browser, server.url);
  await t.page.evaluate(() => {
    const counts = { removed: 0, changed: 0 };
    (window as unknown as { counts: typeof counts }).counts = counts;
    new MutationObserver((records) => {
      for (const record of records) {
        const target = record.target instanceof Element ? record.target : record.target.parentElement;
        const block = target?.closest('.prose > *');
        // Formulas and code colours come once, after their block: they are not counted.
        const decorated = target?.closest('.math, code');
        if (block && !block.classList.contains('open') && !decorated) counts.changed += 1;
        if (target?.classList.contains('prose')) counts.removed += record.removedNodes.length;
      }
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  await t.ask('a long answer');
  const text = await t.answer();
  expect(text.split(/\s+/).length).toBeGreaterThan(2500);
  expect(text).toContain('The last sentence of a long answer.');
  expect(await t.page.evaluate(() => (window as unknown as { counts: object }).counts)).toEqual({ removed: 0, changed: 0 });
  await t.close();
}, 90_000);
