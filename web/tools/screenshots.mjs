// screenshots.mjs URL OUT: the pictures of the page in docs/screenshots, taken of a running `glimpse serve`.
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { chromium } from 'playwright-core';

const [url, out] = [process.argv[2], resolve(process.argv[3] ?? '.')];
if (!url) throw new Error('usage: screenshots.mjs URL OUT');
mkdirSync(out, { recursive: true });
const samples = new URL('../../models/glimpse-mini/samples/', import.meta.url).pathname;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-sync'],
});
const desk = { viewport: { width: 1280, height: 800 }, locale: 'en-US' };
const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, locale: 'en-US' };

async function shot(name, options, work) {
  const page = await (await browser.newContext(options)).newPage();
  await page.goto(url);
  await page.locator('.dot.open').waitFor();
  await work(page);
  await page.waitForTimeout(600);
  await page.screenshot({ path: join(out, `${name}.png`) });
  await page.context().close();
  console.log(name);
}

// Chosen, then typed by hand: what the page is for.
async function ask(page, picture, question) {
  await page.locator('input[type=file]').first().setInputFiles(join(samples, picture));
  await page.locator('#question').pressSequentially(question, { delay: 60 });
  await page.locator('#question').press('Enter');
  await page.locator('.account').last().waitFor();
}

const examples = (page) => page.locator('[data-example] img').last().waitFor();
await shot('empty-light', desk, examples);
await shot('empty-dark', { ...desk, colorScheme: 'dark' }, examples);
await shot('empty-zh', { ...desk, locale: 'zh-CN' }, examples);
await shot('phone', phone, examples);
await shot('waterfall', desk, async (page) => {
  await ask(page, '03_describe.png', 'Describe the picture.');
  await page.locator('.account').click();
  await page.locator('.waterfall').waitFor();
  await page.locator('.scroll').evaluate((region) => (region.scrollTop = region.scrollHeight));
});
await shot('waterfall-dark-phone', { ...phone, colorScheme: 'dark' }, async (page) => {
  await ask(page, '03_describe.png', 'Describe the picture.');
  await page.locator('.account').click();
  await page.locator('.waterfall').waitFor();
});
await shot('places-zh', { ...desk, locale: 'zh-CN', colorScheme: 'dark' }, async (page) => {
  await ask(page, '06_where.png', '框出高跟鞋');
  await page.locator('.place').first().click();
});
await shot('live', desk, async (page) => {
  await page.locator('header .icon-button[aria-pressed]').click();
  for (const [picture, question] of [['07_ocr.png', 'What does it say?'], ['12_chart_list.png', 'Extract the chart data.'], ['19_apps.png', 'Open Coffee.']]) {
    await ask(page, picture, question);
    await page.waitForTimeout(1200);
  }
});
await browser.close();
