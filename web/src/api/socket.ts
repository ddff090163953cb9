// The one connection to the server. Requests are told apart by ids; it reconnects by itself, and what was under way is
// then told that it is lost (a picture is sent again by its owner, an answer is not).

import { ClockSync } from './clock';
import { apiError, ApiError } from './errors';
import { parseEvent, subprotocols, type ClientMessage, type ServerEvent } from './protocol';

// refused: the API key is missing or wrong; loading: the server answers, but its model is still being loaded
export type SocketState = 'connecting' | 'open' | 'closed' | 'refused' | 'loading';

export interface Handler {
  event(event: ServerEvent, at: number): void; // `at`: performance.now() of its arrival
  failed(error: ApiError): void; // nothing more will come
}

export interface SocketOptions {
  url: string;
  apiKey: () => string;
  // Asked when a handshake has failed: a browser does not tell why.
  whyClosed: () => Promise<'closed' | 'refused' | 'loading'>;
  onState: (state: SocketState) => void;
}

const SLICE_BYTES = 1024 * 1024;
const HIGH_WATER_BYTES = 512 * 1024; // more than this in the browser's buffer, and cancelling would come too late
const PROGRESS_MS = 30;
const RETRY_MS = [250, 500, 1000, 2000, 4000];
const LOADING_MS = 500; // between looks at a server that is loading its model
const PING_MS = 15_000;

export class Socket {
  readonly clock = new ClockSync();
  readonly #options: SocketOptions;
  #socket: WebSocket | null = null;
  #state: SocketState = 'closed';
  #handlers = new Map<string, Handler>();
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #pings: ReturnType<typeof setInterval> | undefined;
  #upload: Promise<void> = Promise.resolve(); // binary frames belong to the picture announced last: one at a time
  #nextId = 1;

  constructor(options: SocketOptions) {
    this.#options = options;
  }

  get state(): SocketState {
    return this.#state;
  }

  newId(prefix: string): string {
    return `${prefix}${this.#nextId++}`;
  }

  // Connects, or connects again at once (new key, the network is back).
  connect(): void {
    clearTimeout(this.#timer);
    this.#drop();
    if (this.#state !== 'loading') this.#setState('connecting');
    const socket = new WebSocket(this.#options.url, subprotocols(this.#options.apiKey()));
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    socket.onopen = () => {
      opened = true;
      this.clock.reset(); // it may be another server process
      this.#attempt = 0;
      this.#setState('open');
      for (let i = 0; i < 5; ++i) setTimeout(() => this.#ping(), i * 40);
      this.#pings = setInterval(() => this.#ping(), PING_MS);
    };
    socket.onmessage = (message) => this.#receive(message);
    let opened = false;
    socket.onclose = () => this.#closed(socket, opened);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#drop();
    this.#setState('closed');
  }

  // Sends a request whose events go to `handler` until release(). False if there is no connection.
  send(message: Extract<ClientMessage, { id: string }>, handler: Handler): boolean {
    if (!this.#transmit(message)) return false;
    this.#handlers.set(message.id, handler);
    return true;
  }

  // The request is over: later events of it are ignored.
  release(id: string): void {
    this.#handlers.delete(id);
  }

  cancel(id: string): void {
    this.#transmit({ type: 'cancel', id });
  }

  // Sends a picture. `begin` gets the time of the first byte, `progress` the bytes that have left the browser; `sent` says
  // that all of it is on its way: a request sent after that finds it under its id. As a blob, because the browser then moves
  // the bytes itself: a megabyte is at a local server after half the time that an array buffer takes. If the blob cannot be
  // read, the browser closes the connection.
  sendPicture(
    picture: { id: string; blob: Blob; name: string },
    handler: Handler & { begin(at: number): void; progress(bytes: number): void; sent(): void },
  ): void {
    const { id, blob, name } = picture;
    this.#handlers.set(id, handler);
    const turn = async () => {
      if (!this.#handlers.has(id)) return; // released, or lost with its connection, while others were being sent
      const announced = this.send({ type: 'image', id, size: blob.size, filename: name }, handler);
      if (!announced) {
        this.#handlers.delete(id);
        handler.failed(new ApiError('offline'));
        return;
      }
      handler.begin(performance.now());
      await this.#transmitBytes(id, blob, handler);
    };
    this.#upload = this.#upload.then(turn, turn);
  }

  async #transmitBytes(
    id: string,
    blob: Blob,
    { progress, sent }: { progress(bytes: number): void; sent(): void },
  ): Promise<void> {
    const socket = this.#socket;
    const wait = () => new Promise((resolve) => setTimeout(resolve, PROGRESS_MS));
    for (let at = 0; at < blob.size; at += SLICE_BYTES) {
      while (socket && socket.bufferedAmount > HIGH_WATER_BYTES && socket.readyState === WebSocket.OPEN) {
        progress(Math.max(0, at - socket.bufferedAmount));
        await wait();
      }
      if (socket?.readyState !== WebSocket.OPEN || !this.#handlers.has(id)) return;
      socket.send(blob.slice(at, at + SLICE_BYTES));
    }
    sent();
    while (socket && socket.bufferedAmount > 0 && socket.readyState === WebSocket.OPEN) {
      progress(Math.max(0, blob.size - socket.bufferedAmount));
      await wait();
    }
    if (this.#handlers.has(id)) progress(blob.size);
  }

  #transmit(message: ClientMessage): boolean {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  #receive(message: MessageEvent): void {
    const at = performance.now();
    if (typeof message.data !== 'string') return;
    const event = parseEvent(message.data);
    if (!event) return;
    if (event.type === 'clock') {
      this.clock.sample(event.t0, event.server_ms ?? NaN, at);
      return;
    }
    const handler = event.id === undefined ? undefined : this.#handlers.get(event.id);
    if (event.type !== 'error' && event.type !== 'image.failed') {
      handler?.event(event, at);
      return;
    }
    this.#handlers.delete(event.id ?? '');
    handler?.failed(apiError(event.error, event.status));
  }

  #ping(): void {
    this.#transmit({ type: 'clock', t0: performance.now() });
  }

  async #closed(socket: WebSocket, opened: boolean): Promise<void> {
    if (socket !== this.#socket) return;
    this.#drop();
    if (this.#state !== 'loading') this.#setState('closed');
    const before = this.#state;
    const why = opened ? 'closed' : await this.#options.whyClosed();
    if (this.#state !== before || this.#socket) return; // somebody has connected or closed in the meantime
    if (why === 'refused') return this.#refuse();
    if (why !== before) this.#setState(why);
    const wait = why === 'loading' ? LOADING_MS : RETRY_MS[Math.min(this.#attempt++, RETRY_MS.length - 1)]!;
    this.#timer = setTimeout(() => this.connect(), wait);
  }

  #refuse(): void {
    this.#drop(new ApiError('key'));
    this.#setState('refused');
  }

  // Forgets the connection; everything under way on it has failed.
  #drop(error = new ApiError('interrupted')): void {
    clearInterval(this.#pings);
    const socket = this.#socket;
    this.#socket = null;
    if (socket && socket.readyState <= WebSocket.OPEN) socket.close();
    const handlers = [...this.#handlers.values()];
    this.#handlers.clear();
    for (const handler of handlers) handler.failed(error);
  }

  #setState(state: SocketState): void {
    this.#state = state;
    this.#options.onState(state);
  }
}
