// A browser for the tests, and what they do on the page.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { expect } from 'vitest';

export const SAMPLES = join(__dirname, '../../../models/glimpse-mini/samples');
const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export function launch(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, args: FLAGS, headless: true }); // with a profile of its own
}

// A page at `url`; anything it complains about (errors, blocked content) fails the test that closes it.
export async function open(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<TestPage> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-US', ...options });
  const page = await context.newPage();
  const test = new TestPage(page);
  await page.goto(url);
  await page.locator('.dot.open').waitFor();
  return test;
}

export class TestPage {
  readonly page: Page;
  readonly complaints: string[] = [];
  #allowed: RegExp[] = [];
  #sent: string[] = [];

  constructor(page: Page) {
    this.page = page;
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') this.complaints.push(message.text());
    });
    page.on('pageerror', (error) => this.complaints.push(String(error)));
    page.on('websocket', (socket) =>
      socket.on('framesent', ({ payload }) => {
        if (typeof payload === 'string' && payload.startsWith('{')) this.#sent.push(JSON.parse(payload).type);
      }),
    );
  }

  // The types of the messages that the page sends from now on; grows.
  sent(): string[] {
    this.#sent = [];
    return this.#sent;
  }

  // Complaints that the test provokes.
  allow(pattern: RegExp): void {
    this.#allowed.push(pattern);
  }

  async close(): Promise<void> {
    await this.page.context().close();
    expect(this.complaints.filter((text) => !this.#allowed.some((pattern) => pattern.test(text)))).toEqual([]);
  }

  async choose(...names: string[]): Promise<void> {
    await this.page.locator('input[type=file]').first().setInputFiles(names.map((name) => join(SAMPLES, name)));
  }

  async chooseBytes(name: string, mimeType: string, buffer: Buffer): Promise<void> {
    await this.page.locator('input[type=file]').first().setInputFiles({ name, mimeType, buffer });
  }

  // Puts files into a paste or drop event, as the browser would.
  async transfer(kind: 'paste' | 'drop', ...names: string[]): Promise<void> {
    const files = names.map((name) => ({ name, data: readFileSync(join(SAMPLES, name)).toString('base64') }));
    await this.page.evaluate(
      ([how, contents]) => {
        const transfer = new DataTransfer();
        for (const { name, data } of contents) {
          const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
          transfer.items.add(new File([bytes], name, { type: 'image/png' }));
        }
        const target = document.getElementById('question')!;
        const init = { bubbles: true, cancelable: true };
        if (how === 'paste') {
          target.dispatchEvent(new ClipboardEvent('paste', { ...init, clipboardData: transfer }));
          return;
        }
        for (const type of ['dragenter', 'dragover', 'drop']) {
          target.dispatchEvent(new DragEvent(type, { ...init, dataTransfer: transfer }));
        }
      },
      [kind, files] as const,
    );
  }

  thumbs(state: string) {
    return this.page.locator(`.thumbs li[data-state=${state}]`);
  }

  async ask(question: string): Promise<void> {
    await this.page.locator('#question').fill(question);
    await this.page.locator('#question').press('Enter');
  }

  // The text of the last answer, once it is complete.
  async answer(): Promise<string> {
    const last = this.page.locator('article.turn').last();
    await last.and(this.page.locator('[aria-busy=false]')).waitFor();
    return (await last.locator('.prose').innerText()).trim();
  }

  error() {
    return this.page.locator('article.turn .error').last();
  }
}
