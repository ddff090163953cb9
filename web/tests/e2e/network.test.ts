// Connections that break, are slow, or are refused.

import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launch, open, SAMPLES, TestPage } from './browser';
import { Server } from './server';

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser?.close());

test('after the server has restarted the page goes on, pictures included', async () => {
  const server = await Server.glimpse();
  const t = await open(browser, server.url);
  t.allow(/WebSocket connection|ERR_CONNECTION|Failed to load resource/);
  await t.choose('03_describe.png');
  await t.ask('Describe the picture.');
  const first = await t.answer();
  await server.kill();
  await t.page.locator('.dot.closed, .dot.connecting').first().waitFor();
  await server.start();
  await t.page.locator('.dot.open').waitFor();
  await t.page.locator('article.turn').first().getByLabel('Ask again').click(); // with a picture that the new server never saw
  expect(await t.answer()).toBe(first);
  await t.close();
  await server.kill();
});

test('while the server loads its model the page says how far it is, and a question waits', async () => {
  const server = await Server.glimpse();
  const t = await open(browser, server.url);
  t.allow(/WebSocket|ERR_CONNECTION|Failed to load resource/);
  await server.kill();
  const body = { error: { message: 'the server is starting', code: 503 }, status: 'loading', progress: { what: 'weights', share: 0.43 } };
  const loading = createServer((_, response) => {
    response.writeHead(503, { 'content-type': 'application/json', connection: 'close' });
    response.end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => loading.listen(Number(new URL(server.url).port), '127.0.0.1', resolve));
  await t.page.locator('.dot.loading').waitFor();
  await t.page.locator('.state', { hasText: '43 %' }).waitFor();
  await t.ask('What is 2 + 3?');
  await new Promise((resolve) => loading.close(resolve));
  await server.start();
  await t.page.locator('.dot.open').waitFor();
  expect(await t.answer()).not.toBe('');
  await t.close();
  await server.kill();
});

test('a picture whose file is gone before it could be sent fails alone', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'glimpse-e2e-'));
  const file = join(folder, 'gone.png');
  copyFileSync(join(SAMPLES, '03_describe.png'), file);
  const server = await Server.glimpse();
  const t = await open(browser, server.url);
  t.allow(/WebSocket|ERR_CONNECTION|ERR_UPLOAD_FILE_CHANGED|ERR_FILE_NOT_FOUND|Failed to load resource/);
  await server.kill();
  await t.page.locator('.dot.closed, .dot.connecting').first().waitFor();
  await t.page.locator('input[type=file]').first().setInputFiles(file);
  await t.thumbs('waiting').waitFor();
  rmSync(folder, { recursive: true });
  await server.start();
  await t.thumbs('failed').waitFor();
  await t.page.locator('.dot.open').waitFor();
  await t.page.locator('.thumbs .remove').click();
  await t.choose('03_describe.png');
  await t.ask('Describe the picture.');
  expect(await t.answer()).not.toBe('');
  await t.close();
  await server.kill();
});

test('an answer cut off by the server’s end says so and can be asked again', async () => {
  const server = await Server.scripted([{ text: 'one two three four five', repeat: 400, per_token_ms: 20 }]);
  const t = await open(browser, server.url);
  t.allow(/WebSocket connection|ERR_CONNECTION|Failed to load resource/);
  await t.ask('Count.');
  await expect.poll(async () => (await t.page.locator('article .prose').innerText()).length).toBeGreaterThan(20);
  await server.kill();
  await t.error().waitFor();
  expect(await t.error().innerText()).toMatch(/connection broke/);
  expect((await t.page.locator('article .prose').innerText()).length).toBeGreaterThan(20); // what came stays
  await server.start();
  await t.page.locator('.dot.open').waitFor();
  await t.error().getByRole('button', { name: 'Ask again' }).click();
  await expect.poll(async () => (await t.page.locator('article .prose').innerText()).length).toBeGreaterThan(20);
  await t.page.locator('.send[aria-label="Stop the answer"]').click();
  await t.answer();
  await t.close();
  await server.kill();
});

test('a slow line shows progress, and a large picture is sent smaller and marked', async () => {
  const server = await Server.glimpse();
  const t = await open(browser, server.url);
  const cdp = await t.page.context().newCDPSession(t.page);
  await cdp.send('Network.enable');
  await cdp.send('Network.emulateNetworkConditions', {
    offline: false,
    latency: 20,
    downloadThroughput: 2_000_000,
    uploadThroughput: 400_000,
  });
  await t.chooseBytes('noise.png', 'image/png', await noise(t, 700, 600)); // more than a megabyte
  await t.thumbs('sending').waitFor();
  await t.thumbs('ready').waitFor({ timeout: 30_000 });
  // The speed is known now. The next large picture is shrunk.
  await t.chooseBytes('noise2.png', 'image/png', await noise(t, 1400, 1200));
  await expect.poll(() => t.thumbs('ready').count(), { timeout: 40_000 }).toBe(2);
  await t.ask('Describe the picture.');
  await t.answer();
  await t.page.locator('.account').click();
  expect(await t.page.locator('.waterfall .notes').innerText()).toMatch(/noise2\.png was shrunk from .* MB .*300 ms/);
  await t.close();
  await server.kill();
}, 90_000);

test('without the key the page asks for it, with it all works', async () => {
  const server = await Server.glimpse(['--api-key', 'secret']);
  const context = await browser.newContext({ locale: 'en-US' });
  const page = await context.newPage();
  const t = new TestPage(page);
  t.allow(/401|WebSocket/);
  await page.goto(server.url);
  await page.locator('.dot.refused').waitFor();
  await t.ask('Hello?');
  await t.error().waitFor();
  expect(await t.error().innerText()).toMatch(/API key/);
  await t.error().getByText('Open settings').click();
  await page.locator('input[type=password]').fill('secret');
  await page.locator('input[type=password]').blur();
  await page.locator('.dot.open').waitFor();
  await page.getByLabel('Close').click();
  await t.error().getByRole('button', { name: 'Ask again' }).click();
  expect((await t.answer()).length).toBeGreaterThan(1);
  await t.close();
  await server.kill();
});

// A PNG of noise, which does not compress. Made by the browser.
async function noise(t: TestPage, width: number, height: number): Promise<Buffer> {
  const seed = randomBytes(4).readUInt32LE();
  const data = await t.page.evaluate(
    async ([w, h, s]) => {
      const canvas = new OffscreenCanvas(w, h);
      const context = canvas.getContext('2d')!;
      const image = context.createImageData(w, h);
      let state = s | 1;
      for (let i = 0; i < image.data.length; ++i) {
        state = (Math.imul(state, 1664525) + 1013904223) | 0;
        image.data[i] = i % 4 === 3 ? 255 : state >>> 24;
      }
      context.putImageData(image, 0, 0);
      const blob = await canvas.convertToBlob({ type: 'image/png' });
      return new Promise<string>((resolve) => {
        const reader = new FileReader();
        reader.onload = () => resolve((reader.result as string).split(',')[1]!);
        reader.readAsDataURL(blob);
      });
    },
    [width, height, seed] as const,
  );
  return Buffer.from(data, 'base64');
}
