// page.mjs: what the chat page costs over a compiled API client, on this machine, in a real browser.
//   node bench/page.mjs [--build DIR] [--runs 30] [--only fresh,known,chosen,typed,smooth,long] [--json FILE]
// Needs the targets glimpse, scripted_server and page_api_client of the build, and Chromium.
//   fresh   a 1920×1080 JPEG that the server has never seen, sent together with a short question: page and API client in turn
//   known   the same with a picture that was sent before (the page when it is chosen, the client by /v1/files)
//   chosen  the page alone: a picture is pasted → its thumbnail painted, → "received" painted (the server has all of it)
//   typed   the page alone: picture chosen, question typed for two seconds, Enter
//   smooth  an answer of 4,000 tokens at 200 tokens/s: long tasks, frames that came late
//   long    answers of seconds from the dummy 1.75B model (text only), page and API client in turn; minutes on a small CPU
// "First" is Enter → first text painted (client: request begun → first text received); "total" → the last text painted.
import { spawn } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

const root = resolve(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '../..');
const { values: args } = parseArgs({
  options: {
    build: { type: 'string', default: join(root, 'build/release') },
    runs: { type: 'string', default: '30' },
    only: { type: 'string', default: 'fresh,known,chosen,typed,smooth' },
    json: { type: 'string' },
    port: { type: 'string', default: '8205' },
  },
});
const RUNS = Number(args.runs);
const QUESTION = 'What is this?';
const scratch = mkdtempSync(join(tmpdir(), 'glimpse-page-bench-'));
let port = Number(args.port);

const stats = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (q) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
  return { n: sorted.length, median: at(0.5), p95: at(0.95), min: sorted[0], max: sorted[sorted.length - 1] };
};
const show = ({ median, p95 }) => `${median.toFixed(1)} (p95 ${p95.toFixed(1)})`;

// ---- programs

async function serve(program, options) {
  const url = `http://127.0.0.1:${++port}`;
  if (await fetch(`${url}/health`).then(() => true, () => false)) throw new Error(`port ${port} is taken`);
  const child = spawn(join(args.build, program), [...options, '--port', String(port)], { stdio: 'ignore' });
  for (let i = 0; i < 1200; ++i) {
    if (await fetch(`${url}/ready`).then((r) => r.ok, () => false)) break;
    if (child.exitCode !== null) throw new Error(`${program} ended: is port ${port} taken?`);
    await new Promise((r) => setTimeout(r, 100));
  }
  return { url, port, end: () => child.kill() };
}

function client(server) {
  const child = spawn(join(args.build, 'bench/page/page_api_client'), ['127.0.0.1', String(server.port)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async run(order) {
      child.stdin.write(JSON.stringify(order) + '\n');
      const { value, done } = await lines.next();
      if (done) throw new Error('the API client ended');
      return JSON.parse(value);
    },
    end: () => child.stdin.end(),
  };
}

// ---- the page, watched from outside its own accounting

function probe() {
  const p = (window.probe = { enter: 0, first: 0, last: 0, pending: 0, check: () => {} });
  const afterThisFrame = (done) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => done(performance.now());
    channel.port2.postMessage(0);
  };
  p.afterPaint = (done) => requestAnimationFrame(() => afterThisFrame(done));
  // Text that is put there within a frame is painted by it: a frame of the probe's own for each token would be paid by the
  // model. Observers run right behind the callback that changed something.
  let inFrame = false;
  const request = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (callback) =>
    request((time) => {
      inFrame = true;
      callback(time);
      queueMicrotask(() => (inFrame = false));
    });
  p.reset = () => Object.assign(p, { enter: performance.now(), first: 0, last: 0, pending: 0 });
  addEventListener('keydown', (event) => event.key === 'Enter' && p.reset(), true);
  new MutationObserver((records) => {
    const text = records.some(({ target }) => {
      const element = target instanceof Element ? target : target.parentElement;
      return element?.closest('.prose') && element.closest('.prose').textContent !== '';
    });
    if (!text || p.enter === 0) return;
    p.pending += 1;
    const began = p.enter;
    (inFrame ? afterThisFrame : p.afterPaint)((at) => {
      if (began !== p.enter) return;
      p.pending -= 1;
      p.first ||= at;
      p.last = at;
      p.check();
    });
  }).observe(document, { subtree: true, childList: true, characterData: true });
  const over = () => {
    const articles = document.querySelectorAll('article.turn');
    return articles.length > 0 && articles[articles.length - 1].getAttribute('aria-busy') === 'false' && p.first > 0 && p.pending === 0;
  };
  new MutationObserver(() => p.check()).observe(document, { subtree: true, attributes: true, attributeFilter: ['aria-busy'] });
  // Resolves when the answer is complete and painted; nothing is asked meanwhile: the processor is the model's.
  p.over = () =>
    new Promise((resolve) => {
      p.check = () => over() && resolve();
      p.check();
    });
}

async function openPage(browser, url) {
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-US' })).newPage();
  await page.addInitScript(probe);
  await page.goto(url);
  await page.locator('.dot.open').waitFor();
  return page;
}

async function outcome(page) {
  await page.evaluate(() => window.probe.over());
  const result = await page.evaluate(() => ({
    first: window.probe.first - window.probe.enter,
    total: window.probe.last - window.probe.enter,
    text: [...document.querySelectorAll('.prose')].at(-1).textContent,
  }));
  if ((await page.locator('article .error').count()) > 0) throw new Error(await page.locator('article .error').innerText());
  return result;
}

const newChat = (page) => page.locator('nav .new').click();

// A photograph-like 1920×1080 JPEG of about a megabyte with one coloured thing in it.
async function photograph(page) {
  const bytes = await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(1920, 1080);
    const c = canvas.getContext('2d');
    const image = c.createImageData(1920, 1080);
    let state = 7;
    for (let i = 0; i < image.data.length; i += 4) {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      const grain = (state >>> 27) - 16;
      image.data[i] = 60 + grain;
      image.data[i + 1] = 150 + grain;
      image.data[i + 2] = 70 + grain;
      image.data[i + 3] = 255;
    }
    c.putImageData(image, 0, 0);
    c.fillStyle = '#8030b0';
    c.beginPath();
    c.arc(960, 540, 260, 0, 7);
    c.fill();
    return [...new Uint8Array(await (await canvas.convertToBlob({ type: 'image/jpeg', quality: 0.9 })).arrayBuffer())];
  });
  return Buffer.from(bytes);
}

// The same picture as bytes that no cache has seen: a comment segment after the start marker.
let nonce = Date.now();
function fresh(jpeg) {
  const comment = Buffer.from(`glimpse ${nonce++}`);
  const head = Buffer.from([0xff, 0xfe, 0, comment.length + 2]);
  return Buffer.concat([jpeg.subarray(0, 2), head, comment, jpeg.subarray(2)]);
}

async function choose(page, jpeg) {
  await page.locator('input[type=file]').first().setInputFiles({ name: 'photo.jpg', mimeType: 'image/jpeg', buffer: jpeg });
}

// Makes the file that is about to be chosen, as a file on a disk is there before it is chosen.
function takeFile(base64) {
  window.photo = new File([Uint8Array.from(atob(base64), (ch) => ch.charCodeAt(0))], 'photo.jpg', { type: 'image/jpeg' });
}

// ---- the measurements

async function freshRuns(page, api, jpeg) {
  const sides = { page: [], api: [] };
  const one = {
    async page() {
      await newChat(page);
      const file = fresh(jpeg).toString('base64');
      await page.evaluate(takeFile, file);
      await page.waitForTimeout(200);
      // Chosen and asked in one go: nothing could begin before.
      await page.evaluate((question) => {
        const area = document.getElementById('question');
        area.value = question;
        area.dispatchEvent(new Event('input', { bubbles: true }));
        const files = new DataTransfer();
        files.items.add(window.photo);
        window.probe.reset();
        const enter = window.probe.enter;
        area.dispatchEvent(new ClipboardEvent('paste', { bubbles: true, cancelable: true, clipboardData: files }));
        area.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }));
        window.probe.enter = enter;
      }, QUESTION);
      return outcome(page);
    },
    async api() {
      const picture = join(scratch, 'photo.jpg');
      writeFileSync(picture, fresh(jpeg));
      const { ttft_ms, total_ms, text } = await api.run({ picture, question: QUESTION, max_tokens: 64 });
      return { first: ttft_ms, total: total_ms, text };
    },
  };
  return inTurn(sides, one);
}

async function knownRuns(page, api, url, jpeg) {
  const one = {
    async page() {
      await newChat(page);
      await choose(page, fresh(jpeg));
      await page.locator('.thumbs li[data-state=ready]').waitFor();
      await page.locator('#question').fill(QUESTION);
      await page.waitForTimeout(400);
      await page.locator('#question').press('Enter');
      return outcome(page);
    },
    async api() {
      const form = new FormData();
      form.set('purpose', 'vision');
      form.set('file', new Blob([fresh(jpeg)], { type: 'image/jpeg' }), 'photo.jpg');
      const { id } = await (await fetch(`${url}/v1/files`, { method: 'POST', body: form })).json();
      await new Promise((r) => setTimeout(r, 400));
      const { ttft_ms, total_ms, text } = await api.run({ file_id: id, question: QUESTION, max_tokens: 64 });
      return { first: ttft_ms, total: total_ms, text };
    },
  };
  return inTurn({ page: [], api: [] }, one);
}

async function inTurn(sides, one, runs = RUNS) {
  await one.page();
  await one.api(); // warm-up
  for (let i = 0; i < runs; ++i) {
    for (const side of i % 2 === 0 ? ['page', 'api'] : ['api', 'page']) sides[side].push(await one[side]());
  }
  const texts = new Set([...sides.page, ...sides.api].map(({ text }) => text.trim()));
  if (texts.size > 1) console.log('  note: answers differ:', [...texts].slice(0, 3));
  const table = (what) => ({ page: stats(sides.page.map((r) => r[what])), api: stats(sides.api.map((r) => r[what])) });
  return { answer: [...texts][0], first: table('first'), total: table('total') };
}

async function chosenRuns(page, jpeg) {
  const thumbnail = [];
  const received = [];
  for (let i = 0; i <= RUNS; ++i) {
    await newChat(page);
    const file = fresh(jpeg).toString('base64');
    await page.evaluate(takeFile, file);
    await page.waitForTimeout(200);
    const times = await page.evaluate(
      () =>
        new Promise((resolve) => {
          const times = {};
          const note = (name, began) => (at) => {
            times[name] = at - began;
            if (times.thumbnail && times.received) resolve(times);
          };
          const files = new DataTransfer();
          files.items.add(window.photo);
          const began = performance.now();
          const loaded = (event) => {
            if (!event.target.closest?.('.thumbs')) return;
            document.removeEventListener('load', loaded, true);
            window.probe.afterPaint(note('thumbnail', began));
          };
          document.addEventListener('load', loaded, true);
          const observer = new MutationObserver(() => {
            // "Received", or a state that can only come after it.
            if (!document.querySelector('.thumbs li:is([data-state=received], [data-state=decoded], [data-state=ready])')) return;
            observer.disconnect();
            window.probe.afterPaint(note('received', began));
          });
          observer.observe(document.body, { subtree: true, childList: true, attributes: true });
          const area = document.getElementById('question');
          area.dispatchEvent(new ClipboardEvent('paste', { bubbles: true, cancelable: true, clipboardData: files }));
        }),
    );
    await page.locator('.thumbs li[data-state=ready]').waitFor();
    if (i > 0) {
      thumbnail.push(times.thumbnail);
      received.push(times.received);
    }
  }
  return { thumbnail: stats(thumbnail), received: stats(received) };
}

async function typedRuns(page, jpeg) {
  const first = [];
  const total = [];
  for (let i = 0; i <= RUNS; ++i) {
    await newChat(page);
    await choose(page, fresh(jpeg));
    await page.locator('#question').pressSequentially(QUESTION, { delay: 2000 / QUESTION.length });
    await page.locator('#question').press('Enter');
    const result = await outcome(page);
    if (i > 0) {
      first.push(result.first);
      total.push(result.total);
    }
  }
  return { first: stats(first), total: stats(total) };
}

async function smooth(browser) {
  const words = 'In the picture there is **one thing** and `another`, as was said. '.repeat(6);
  const part = (n) => `## Part ${n}\n\n${words}\n\n- first\n- second\n\n| a | b |\n| - | - |\n| ${n} | 2 |\n\n\`\`\`python\nx = ${n}\n\`\`\`\n\n`;
  const text = '<think></think>\n' + Array.from({ length: 200 }, (_, i) => part(i)).join('');
  const script = join(scratch, 'script.json');
  writeFileSync(script, JSON.stringify([{ text, per_token_ms: 5, first_ms: 5 }]));
  const server = await serve('tests/server/scripted_server', ['--script', script, '--max-model-len', '16384']);
  const page = await openPage(browser, server.url);
  await page.evaluate(() => {
    localStorage.setItem('glimpse.settings', JSON.stringify({ parameters: { max_tokens: 4000 } }));
  });
  await page.reload();
  await page.locator('.dot.open').waitFor();
  await page.evaluate(() => {
    const s = (window.smooth = { long: [], frames: [] });
    new PerformanceObserver((list) => s.long.push(...list.getEntries().map((e) => e.duration))).observe({ type: 'longtask' });
    let before = 0;
    const frame = (now) => {
      if (before) s.frames.push(now - before);
      before = now;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
  await page.locator('#question').fill('Tell me everything.');
  await page.locator('#question').press('Enter');
  await page.waitForFunction(() => document.querySelector('article')?.getAttribute('aria-busy') === 'false', null, { timeout: 120_000 });
  const { long, frames, characters } = await page.evaluate(() => ({ ...window.smooth, characters: document.querySelector('.prose').textContent.length }));
  server.end();
  // A frame that took n display intervals dropped n − 1.
  const interval = 1000 / 60;
  const dropped = frames.reduce((sum, ms) => sum + Math.max(0, Math.round(ms / interval) - 1), 0);
  return {
    seconds: frames.reduce((a, b) => a + b, 0) / 1000,
    characters,
    longTasks: long.length,
    longest: Math.max(0, ...long),
    frames: frames.length,
    droppedShare: dropped / (frames.length + dropped),
  };
}

async function longRuns(browser) {
  const model = join(root, 'configs/dummy-1.75b');
  const server = await serve('src/cli/glimpse', ['serve', '--host', '127.0.0.1', '--load-format', 'dummy', '--model', model]);
  const api = client(server);
  const page = await openPage(browser, server.url);
  await page.evaluate(() => {
    localStorage.setItem('glimpse.settings', JSON.stringify({ drafts: false, parameters: { max_tokens: 24, temperature: 0 } }));
  });
  await page.reload();
  await page.locator('.dot.open').waitFor();
  const question = () => `Question ${nonce++}: what is there to see?`; // not in the prefix cache
  const one = {
    async page() {
      await newChat(page);
      await page.locator('#question').fill(question());
      await page.locator('#question').press('Enter');
      return { ...(await outcome(page)), text: '' };
    },
    async api() {
      const { ttft_ms, total_ms } = await api.run({ question: question(), max_tokens: 24 });
      return { first: ttft_ms, total: total_ms, text: '' };
    },
  };
  const result = await inTurn({ page: [], api: [] }, one, Math.min(RUNS, 10));
  api.end();
  server.end();
  return result;
}

// ---- all of it

const wanted = new Set(args.only.split(','));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const results = { machine: `${cpus().length} × ${cpus()[0].model}`, chromium: browser.version(), runs: RUNS };
console.log(`${results.machine}, Chromium ${results.chromium}, ${RUNS} runs each; ms, median (p95)\n`);
const compared = (name, { first, total }) => {
  console.log(`${name}\n  first: page ${show(first.page)}  API ${show(first.api)}  page − API ${(first.page.median - first.api.median).toFixed(1)}`);
  console.log(`  total: page ${show(total.page)}  API ${show(total.api)}  page − API ${(total.page.median - total.api.median).toFixed(1)}`);
};
try {
  if (['fresh', 'known', 'chosen', 'typed'].some((name) => wanted.has(name))) {
    const server = await serve('src/cli/glimpse', ['serve', '--host', '127.0.0.1']);
    const api = client(server);
    const page = await openPage(browser, server.url);
    const jpeg = await photograph(page);
    results.pictureBytes = jpeg.length;
    if (wanted.has('fresh')) compared(`fresh, ${jpeg.length} bytes`, (results.fresh = await freshRuns(page, api, jpeg)));
    if (wanted.has('known')) compared('known', (results.known = await knownRuns(page, api, server.url, jpeg)));
    if (wanted.has('chosen')) {
      results.chosen = await chosenRuns(page, jpeg);
      console.log(`chosen\n  thumbnail ${show(results.chosen.thumbnail)}  received ${show(results.chosen.received)}`);
    }
    if (wanted.has('typed')) {
      results.typed = await typedRuns(page, jpeg);
      console.log(`typed for 2 s\n  first ${show(results.typed.first)}  total ${show(results.typed.total)}`);
    }
    api.end();
    server.end();
  }
  if (wanted.has('smooth')) {
    const s = (results.smooth = await smooth(browser));
    console.log(
      `smooth: ${s.characters} characters in ${s.seconds.toFixed(1)} s; long tasks ${s.longTasks} (longest ${s.longest.toFixed(0)} ms); ` +
        `${s.frames} frames, ${(100 * s.droppedShare).toFixed(1)} % dropped`,
    );
  }
  if (wanted.has('long')) compared('long, dummy 1.75B', (results.long = await longRuns(browser)));
} finally {
  await browser.close();
}
if (args.json) writeFileSync(args.json, JSON.stringify(results, null, 2) + '\n');
