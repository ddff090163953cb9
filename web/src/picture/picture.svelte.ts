// One picture from choice to "the model has seen it". Work on it starts when it is chosen: its bytes are sent as they are
// while the reader is still typing.

import type { PictureTimes } from '../account/account';
import { afterPaint } from '../answer/paint';
import { ApiError } from '../api/errors';
import type { ServerEvent } from '../api/protocol';
import type { Socket } from '../api/socket';
import type { PictureRecord } from '../chat/conversation';
import { planShrink, type UploadSpeed } from './shrink';
import type { ShrinkReply, ShrinkRequest } from './shrink.worker';

export type PictureState =
  | 'reading' // from the disk
  | 'shrinking'
  | 'waiting' // for a connection
  | 'sending'
  | 'received'
  | 'decoded' // the vision tower is at work
  | 'ready'
  | 'failed';

// What a picture needs to know of the rest of the page.
export interface PictureContext {
  socket: Socket;
  speed: UploadSpeed;
  maxBytes: () => number;
  maxPixels: () => number | null;
}

export class Picture {
  readonly id: string;
  readonly name: string;
  readonly url: string; // object URL of the original
  state: PictureState = $state('reading');
  progress = $state(0); // share of the bytes sent
  cached = $state(false); // the server had seen it before
  error: ApiError | null = $state(null);
  width = $state(0); // as the server (or, before, the browser) reads it
  height = $state(0);
  readonly times: PictureTimes;
  readonly #original: Blob;
  readonly #context: PictureContext;
  #begun = false;
  #discarded = false;
  #interrupted = false; // the connection was lost while it was being sent
  #requestId = '';
  #sentAs = '';
  #fileId = '';
  #sent!: Promise<void>;
  #received!: Promise<void>;
  #arrived!: () => void;
  #resolve!: () => void;
  #reject!: (error: ApiError) => void;

  constructor(id: string, blob: Blob, name: string, context: PictureContext, picked = performance.now()) {
    this.id = id;
    this.name = name;
    this.#original = blob;
    this.#context = context;
    this.url = URL.createObjectURL(blob);
    this.times = {
      name,
      pickBegin: picked,
      pickEnd: picked,
      uploadBegin: NaN,
      uploadEnd: NaN,
      bytes: blob.size,
      originalBytes: blob.size,
      shrunk: null,
      cached: false,
      server: [],
    };
    this.#newPromise();
  }

  get blob(): Blob {
    return this.#original;
  }

  record(): PictureRecord {
    return { id: this.id, name: this.name, width: this.width, height: this.height };
  }

  // Whether it has been on the screen.
  get painted(): boolean {
    return this.times.pickEnd > this.times.pickBegin;
  }

  // The thumbnail is in the document: notes when it is painted.
  shown(width: number, height: number): void {
    this.width ||= width;
    this.height ||= height;
    if (this.painted) return;
    afterPaint((painted) => (this.times.pickEnd = painted));
  }

  // How a request names it: once it is on its way by the name it was sent under, later by the server's. Else empty.
  get address(): string {
    return this.#fileId || this.#sentAs;
  }

  // Resolves when it has an address; rejects with an ApiError.
  sent(): Promise<void> {
    return this.#sent;
  }

  // Resolves when the server has all of it, or nothing more is to be waited for.
  received(): Promise<void> {
    return this.#received;
  }

  // Sends it unless that has happened or is under way.
  ensureSent(): void {
    if (!this.#begun || this.state === 'failed') void this.send();
  }

  // Sends it; again after a lost connection or when the server has forgotten it.
  async send(): Promise<void> {
    if (this.state === 'failed' || this.address !== '') this.#newPromise();
    this.#begun = true;
    this.error = null;
    this.#forget();
    this.progress = 0;
    if (this.#context.socket.state !== 'open') {
      this.state = 'waiting'; // resume() sends it
      return;
    }
    try {
      let blob = await this.#toSend();
      if (blob.size === 0) throw new ApiError('picture');
      // A file that cannot be read would close every new connection too: it is read here.
      if (this.#interrupted) blob = new Blob([await blob.arrayBuffer()]);
      if (this.#discarded) return;
      this.times.bytes = blob.size;
      this.#transmit(blob);
    } catch (error) {
      this.#fail(error instanceof ApiError ? error : new ApiError('picture', String(error)));
    }
  }

  // The connection is back.
  resume(): void {
    if (this.state === 'waiting') void this.send();
  }

  // Taken out of the question: what is under way is given up.
  discard(): void {
    this.#discarded = true;
    this.#context.socket.release(this.#requestId);
    if (this.state !== 'ready' && this.#requestId) this.#context.socket.cancel(this.#requestId);
    URL.revokeObjectURL(this.url);
  }

  #transmit(blob: Blob): void {
    const { socket } = this.#context;
    this.#requestId = socket.newId('p');
    this.state = 'sending';
    this.times.server = [];
    socket.sendPicture(
      { id: this.#requestId, blob, name: this.name },
      {
        begin: (at) => (this.times.uploadBegin = at),
        progress: (sent) => (this.progress = sent / blob.size),
        event: (event, at) => this.#event(event, at),
        sent: () => {
          this.#sentAs = this.#requestId;
          this.#resolve();
        },
        failed: (error) => this.#failed(error),
      },
    );
  }

  #event(event: ServerEvent, at: number): void {
    switch (event.type) {
      case 'image.received':
        this.#fileId = event.file_id;
        this.width = event.width;
        this.height = event.height;
        this.times.uploadEnd = at;
        this.#context.speed.measured(this.times.bytes, at - this.times.uploadBegin);
        this.progress = 1;
        if (this.state === 'sending') this.state = 'received';
        this.#arrived();
        break;
      case 'image.decoded':
        this.cached = event.decode_ms === 0 && event.preprocess_ms === 0;
        if (event.preprocess_ms > 0) this.#tell('preprocess', event.preprocess_ms, 0, event.server_ms, at);
        if (event.decode_ms > 0) this.#tell('decode_image', event.decode_ms, event.preprocess_ms, event.server_ms, at);
        if (this.state !== 'ready') this.state = 'decoded';
        break;
      case 'image.encoded':
        // A picture that was known already tells how long it took then.
        this.#tell('vision', this.cached ? 0 : event.vision_ms, 0, event.server_ms, at);
        this.times.cached = this.cached;
        this.state = 'ready';
        this.#context.socket.release(this.#requestId);
        break;
    }
  }

  // An event says that a piece of work took `duration` and ended `ago` before it. Work of no duration came from a cache.
  #tell(name: string, duration: number, ago: number, serverMs: number | undefined, at: number): void {
    const endServer = serverMs === undefined ? null : serverMs - ago;
    this.times.server.push({ name, endServer, endPage: at - ago, duration, cached: duration === 0 });
  }

  #failed(error: ApiError): void {
    if (error.kind === 'interrupted' || error.kind === 'offline') {
      // Seldom its fault: it is sent again when the connection is back.
      this.#interrupted = true;
      if (this.address !== '') this.#newPromise();
      this.#forget();
      this.state = 'waiting';
      return;
    }
    this.#fail(error);
  }

  #fail(error: ApiError): void {
    this.error = error;
    this.state = 'failed';
    this.#arrived();
    this.#reject(error);
  }

  #forget(): void {
    this.#fileId = '';
    this.#sentAs = '';
  }

  #newPromise(): void {
    this.#sent = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#received = new Promise((resolve) => (this.#arrived = resolve));
    this.#sent.catch(() => {}); // whoever asks for it gets the error; nobody has to
  }

  // The original, or a smaller version where the rules of shrink.ts ask for one.
  async #toSend(): Promise<Blob> {
    const { maxBytes, maxPixels, speed } = this.#context;
    const cheap = speed.bytesPerMs === null || this.#original.size <= speed.bytesPerMs * 300;
    if (this.#original.size <= maxBytes() && cheap) return this.#original;
    const size = await sizeOf(this.url);
    const plan = planShrink({
      bytes: this.#original.size,
      width: size.width,
      height: size.height,
      maxBytes: maxBytes(),
      bytesPerMs: speed.bytesPerMs,
      maxPixels: maxPixels(),
    });
    if (!plan) return this.#original;
    this.state = 'shrinking';
    const blob = await shrink({ blob: this.#original, width: plan.width, height: plan.height });
    if (blob.size >= this.#original.size) return this.#original;
    this.times.shrunk = plan.reason;
    return blob;
  }
}

async function sizeOf(url: string): Promise<{ width: number; height: number }> {
  const image = new Image();
  image.src = url;
  await image.decode();
  return { width: image.naturalWidth, height: image.naturalHeight };
}

function shrink(request: ShrinkRequest): Promise<Blob> {
  const worker = new Worker(new URL('./shrink.worker.ts', import.meta.url), { type: 'module' });
  return new Promise<Blob>((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<ShrinkReply>) => {
      if ('blob' in data) resolve(data.blob);
      else reject(new ApiError('picture', data.error));
    };
    worker.onerror = () => reject(new ApiError('picture'));
    worker.postMessage(request);
  }).finally(() => worker.terminate());
}
