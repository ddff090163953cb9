// Servers for the tests: the program itself with its built-in model, or the real server over a scripted engine.

import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const BUILD = process.env['GLIMPSE_BUILD_DIR'] ?? join(__dirname, '../../../build/release');
export const GLIMPSE = join(BUILD, 'src/cli/glimpse');
export const SCRIPTED = join(BUILD, 'tests/server/scripted_server');
const START_MS = 20_000;

export interface Answer {
  when?: string;
  text: string;
  first_ms?: number;
  per_token_ms?: number;
  repeat?: number;
  finish?: 'stop' | 'length' | 'failed';
}

// A free port; the same one serves again after a restart.
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}

// A test that fails leaves its server behind: none outlives the run.
const running = new Set<ChildProcess>();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

export class Server {
  readonly url: string;
  readonly #command: [string, string[]];
  #process: ChildProcess | null = null;
  #output = '';

  private constructor(program: string, args: string[], port: number) {
    if (!existsSync(program)) throw new Error(`${program} is missing: build it first, or set GLIMPSE_BUILD_DIR`);
    this.url = `http://127.0.0.1:${port}`;
    this.#command = [program, args];
  }

  static async glimpse(args: string[] = []): Promise<Server> {
    const port = await freePort();
    const server = new Server(GLIMPSE, ['serve', '--host', '127.0.0.1', '--port', String(port), ...args], port);
    await server.start();
    return server;
  }

  static async scripted(answers: Answer[], args: string[] = []): Promise<Server> {
    const port = await freePort();
    const script = join(mkdtempSync(join(tmpdir(), 'glimpse-e2e-')), 'script.json');
    writeFileSync(script, JSON.stringify(answers));
    const server = new Server(SCRIPTED, ['--script', script, '--port', String(port), ...args], port);
    await server.start();
    return server;
  }

  // Resolves when it answers.
  async start(): Promise<void> {
    const [program, args] = this.#command;
    this.#process = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(this.#process);
    this.#process.stdout!.on('data', (data) => (this.#output += data));
    this.#process.stderr!.on('data', (data) => (this.#output += data));
    const end = Date.now() + START_MS;
    for (;;) {
      const ready = await fetch(`${this.url}/ready`).then((r) => r.ok, () => false);
      if (ready) return;
      if (Date.now() > end || this.#process.exitCode !== null) throw new Error(`no server at ${this.url}:\n${this.#output}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  // Ends it at once, as a crash would.
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (child) running.delete(child);
    if (!child || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
  }
}
