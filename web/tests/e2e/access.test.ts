// Keyboard, screen readers, languages, colours, phones.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launch, open, type TestPage } from './browser';
import { Server } from './server';

const axe = readFileSync(createRequire(__filename).resolve('axe-core/axe.min.js'), 'utf8');

let browser: Browser;
let server: Server;
beforeAll(async () => {
  [browser, server] = await Promise.all([launch(), Server.glimpse()]);
});
afterAll(async () => {
  await browser?.close();
  await server?.kill();
});

// axe's findings of weight, as "rule: element".
async function findings(t: TestPage): Promise<string[]> {
  // Through the debugger: the page's own policy would not let a script in.
  return t.page.evaluate(`(async () => {
    ${axe};
    const { violations } = await axe.run(document, { resultTypes: ['violations'] });
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .flatMap(({ id, nodes }) => nodes.map(({ html }) => id + ': ' + html.slice(0, 160)));
  })()`) as Promise<string[]>;
}

describe.each(['light', 'dark'] as const)('axe has no serious finding, %s', (colorScheme) => {
  test.each(['en-US', 'zh-CN'])('%s', async (locale) => {
    const t = await open(browser, server.url, { colorScheme, locale });
    expect(await findings(t)).toEqual([]); // the empty chat
    await t.choose('06_where.png');
    await t.thumbs('ready').waitFor();
    expect(await findings(t)).toEqual([]); // a question being written
    await t.ask(locale === 'zh-CN' ? '框出高跟鞋' : 'Give the bounding box of the high heel.');
    await t.answer();
    await t.page.locator('.account').click();
    await t.page.locator('.waterfall').waitFor();
    await t.page.locator('header button:has(path)').nth(3).scrollIntoViewIfNeeded();
    expect(await findings(t)).toEqual([]); // answer, places, waterfall
    await t.page.locator('header .icon-button[aria-pressed]').click();
    await t.page.locator('.live canvas').first().waitFor();
    expect(await findings(t)).toEqual([]); // live panel
    await t.page.locator('header .model').click();
    await t.page.locator('dialog').waitFor();
    expect(await findings(t)).toEqual([]); // settings
    await t.close();
  });
});

test('everything can be reached and done with the keyboard', async () => {
  const t = await open(browser, server.url);
  await t.page.locator('[data-example=describe]').focus();
  await t.page.keyboard.press('Enter');
  await t.answer();
  await t.page.locator('.account').focus();
  await t.page.keyboard.press('Space');
  await t.page.locator('.waterfall').waitFor();
  const reached = new Set<string>();
  await t.page.locator('body').press('Tab');
  for (let i = 0; i < 60; ++i) {
    await t.page.keyboard.press('Tab');
    reached.add(await t.page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.id ?? ''));
  }
  for (const label of ['question', 'Add pictures', 'Ask again', 'Copy', 'Edit', 'Settings', 'Live server figures', 'Compare page and API']) {
    expect([...reached]).toContain(label);
  }
  await t.close();
});

test('the language follows the browser and can be switched', async () => {
  const t = await open(browser, server.url, { locale: 'zh-CN' });
  expect(await t.page.locator('h1').innerText()).toBe('给它一张图，然后提问。');
  expect(await t.page.evaluate(() => document.documentElement.lang)).toBe('zh-CN');
  await t.page.getByText('English', { exact: true }).click();
  expect(await t.page.locator('h1').innerText()).toBe('Show it a picture. Ask.');
  await t.page.reload();
  expect(await t.page.locator('h1').innerText()).toBe('Show it a picture. Ask.');
  await t.close();
});

test('a phone has no sideways scrolling, and the list of conversations as a drawer', async () => {
  const t = await open(browser, server.url, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  const wide = () => t.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(await wide()).toBeLessThanOrEqual(0);
  await t.page.locator('[data-example=describe]').click();
  await t.answer();
  await t.page.locator('.account').click();
  await t.page.locator('.waterfall').waitFor();
  expect(await wide()).toBeLessThanOrEqual(0);
  await t.page.locator('.menu').click();
  await t.page.locator('nav.open .new').click();
  await t.page.locator('[data-example=describe]').waitFor();
  expect(await t.page.getByLabel('Take a picture').first().isVisible()).toBe(true);
  await t.close();
});
