// The page's state and verbs: one connection, the conversation on the screen, the question being written.

import { newPageTimes } from '../account/account';
import { ApiError, type Loading } from '../api/errors';
import { Api } from '../api/http';
import { Socket, type SocketState } from '../api/socket';
import type { ModelInfo } from '../api/types';
import { Picture, type PictureContext } from '../picture/picture.svelte';
import { UploadSpeed } from '../picture/shrink';
import { requestBody, titleOf, type ConversationRecord, type TurnRecord } from './conversation';
import { Drafter } from './drafter';
import { newId } from './ids';
import { Library } from './library.svelte';
import { settings } from './settings.svelte';
import { AnswerTurn, picturesOf, UserTurn, type Turn } from './turn.svelte';

// Where the server does not say more.
const MAX_PICTURE_BYTES = 20 * 1024 * 1024;
const CONNECT_MS = 10_000; // how long a question waits for a connection
const SHOW_MS = 40; // how long the screen waits for a picture to arrive at the server

export class Chat {
  readonly api = new Api(() => settings.apiKey);
  readonly socket: Socket;
  readonly speed = new UploadSpeed();
  readonly library: Library;
  connection: SocketState = $state('connecting');
  loading: Loading | null = $state.raw(null); // of the server's model, while the connection is 'loading'
  models: ModelInfo[] = $state.raw([]);
  conversationId = $state(newId());
  turns: Turn[] = $state([]);
  // The question being written.
  text = $state('');
  pictures: Picture[] = $state([]);
  editing: UserTurn | null = $state(null);
  // Changes with every finished answer, for screen readers.
  announcement = $state(0);

  readonly #context: PictureContext;
  readonly #drafter: Drafter;
  #answering: { turn: AnswerTurn; id: string } | null = null;
  #opened: (() => void)[] = [];

  constructor(url: string) {
    this.socket = new Socket({
      url,
      apiKey: () => settings.apiKey,
      whyClosed: () => this.#whyClosed(),
      onState: (state) => this.#connected(state),
    });
    this.#drafter = new Drafter(this.socket);
    this.#context = {
      socket: this.socket,
      speed: this.speed,
      maxBytes: () => this.model?.glimpse?.max_picture_bytes ?? MAX_PICTURE_BYTES,
      maxPixels: () => this.model?.glimpse?.max_image_pixels ?? null,
    };
    this.library = new Library(this.#context);
  }

  start(): void {
    this.socket.connect();
    void this.loadModels();
    void this.library.load();
  }

  get model(): ModelInfo | undefined {
    return this.models.find(({ id }) => id === settings.model) ?? this.models[0];
  }

  get running(): AnswerTurn | null {
    const last = this.turns[this.turns.length - 1];
    return last instanceof AnswerTurn && last.running ? last : null;
  }

  async loadModels(): Promise<void> {
    this.models = await this.api.models().catch(() => this.models); // whether there is a server, the socket tells
  }

  async #whyClosed(): Promise<'closed' | 'refused' | 'loading'> {
    try {
      await this.api.models();
    } catch (error) {
      if (!(error instanceof ApiError)) return 'closed';
      this.loading = error.loading;
      if (error.loading) return 'loading';
      if (error.kind === 'key') return 'refused';
    }
    return 'closed';
  }

  // ---- the question being written

  addPictures(files: Iterable<Blob>, picked = performance.now()): void {
    for (const file of files) {
      const name = file instanceof File && file.name ? file.name : `picture ${this.pictures.length + 1}`;
      const picture = new Picture(newId(), file, name, this.#context, picked);
      this.pictures.push(picture);
      void picture.send();
      picture.sent().then(
        () => this.draft(0),
        () => {},
      );
    }
  }

  removePicture(picture: Picture): void {
    this.pictures = this.pictures.filter((other) => other !== picture);
    if (!this.turns.some((turn) => turn instanceof UserTurn && turn.pictures.includes(picture))) picture.discard();
    this.draft(0);
  }

  // Lets the server compute everything before the end of the question.
  draft(delayMs?: number): void {
    if (!settings.drafts || this.#answering) return;
    const pictures = this.pictures.filter((picture) => picture.address !== '');
    if (pictures.length === 0 && this.text.trim() === '') return;
    if (pictures.length < this.pictures.length) return; // the picture comes first in the prompt
    this.#drafter.schedule(() => this.#body([...this.#history(), new UserTurn('draft', this.text, pictures)]), delayMs);
  }

  ask(text = this.text.trim(), pictures = [...this.pictures]): void {
    if ((text === '' && pictures.length === 0) || this.running || this.#answering) return;
    const enter = performance.now();
    this.#drafter.stop();
    const user = new UserTurn(newId(), text, pictures);
    const turns = [...this.#history(), user];
    this.pictures = []; // at once: drawing a thumbnail that was not there yet would hold up the picture's bytes
    const asked = this.text;
    this.#answer(turns, enter, () => {
      this.editing = null;
      if (this.text.startsWith(asked)) this.text = this.text.slice(asked.length); // what was typed since is the next question's
    });
  }

  edit(turn: UserTurn): void {
    this.editing = turn;
    this.text = turn.text;
    this.pictures = [...turn.pictures];
  }

  cancelEdit(): void {
    this.editing = null;
    this.text = '';
    this.pictures = [];
  }

  // ---- the answer

  regenerate(turn: AnswerTurn): void {
    if (this.running) return;
    const index = this.turns.indexOf(turn);
    if (index > 0) this.#answer(this.turns.slice(0, index), performance.now());
  }

  stop(): void {
    if (!this.#answering) return;
    const { turn, id } = this.#answering;
    this.socket.cancel(id);
    this.socket.release(id);
    void this.#finish(turn, 'stopped', null);
  }

  // Sends first, shows second: nothing on the screen is worth a millisecond of the answer. `shown` is called with it.
  #answer(turns: Turn[], enter: number, shown = () => {}): void {
    const user = turns[turns.length - 1] as UserTurn;
    const turn = AnswerTurn.begin(newId(), newPageTimes(enter, this.socket.clock.offset, user.pictures.map((p) => p.times)));
    this.#answering = { turn, id: this.socket.newId('c') };
    const ready = this.connection === 'open' && picturesOf(turns).every((picture) => picture.address !== '');
    const conversation = this.conversationId;
    const show = () => {
      if (this.conversationId !== conversation) return; // the reader has gone elsewhere
      this.turns = [...turns, turn];
      shown();
    };
    if (ready) {
      this.#request(turns, turn);
      show();
      return;
    }
    // Pictures chosen a moment ago: drawing would hold up their bytes, on this thread and, with few processors, on their
    // way. It costs the least while the server decodes.
    const there = Promise.allSettled([this.#connection(), ...picturesOf(turns).map((picture) => picture.received())]);
    void Promise.race([there, new Promise((resolve) => setTimeout(resolve, SHOW_MS))]).then(show);
    void this.#prepare(turns, turn);
  }

  async #prepare(turns: Turn[], turn: AnswerTurn): Promise<void> {
    try {
      await this.#connection();
      for (const picture of picturesOf(turns)) picture.ensureSent();
      await Promise.all(picturesOf(turns).map((picture) => picture.sent()));
      if (this.#answering?.turn === turn) this.#request(turns, turn);
    } catch (error) {
      if (this.#answering?.turn === turn) await this.#finish(turn, 'failed', asApiError(error));
    }
  }

  #request(turns: Turn[], turn: AnswerTurn, secondTry = false): void {
    const id = this.#answering!.id;
    const sent = this.socket.send({ type: 'chat', id, request: this.#body(turns) }, {
      event: (event, at) => {
        if (event.type === 'chat.chunk') turn.chunk(event.data, at);
        else if (event.type === 'chat.done') {
          this.socket.release(id);
          void this.#finish(turn, 'done', null);
        }
      },
      failed: (error) => {
        if (error.kind === 'picture_gone' && !secondTry && !picturesOf(turns).some((picture) => picture.error)) void this.#sendAgain(turns, turn);
        // A picture that cannot be read is what is wrong, not that it cannot be found.
        else void this.#finish(turn, 'failed', picturesOf(turns).find((picture) => picture.error)?.error ?? error);
      },
    });
    if (!sent) void this.#finish(turn, 'failed', new ApiError('offline'));
  }

  // The server has let go of uploaded pictures (it was restarted, or they were old).
  async #sendAgain(turns: Turn[], turn: AnswerTurn): Promise<void> {
    try {
      const pictures = picturesOf(turns);
      await Promise.all(pictures.map((picture) => picture.send()));
      await Promise.all(pictures.map((picture) => picture.sent()));
      if (this.#answering?.turn !== turn) return;
      this.#answering.id = this.socket.newId('c');
      this.#request(turns, turn, true);
    } catch (error) {
      await this.#finish(turn, 'failed', asApiError(error));
    }
  }

  async #finish(turn: AnswerTurn, status: 'done' | 'stopped' | 'failed', error: ApiError | null): Promise<void> {
    if (this.#answering?.turn === turn) this.#answering = null;
    // Pings after the request have sharpened the common clock.
    if (turn.times) turn.times.clockOffset = this.socket.clock.offset ?? turn.times.clockOffset;
    await turn.end(status, error);
    ++this.announcement;
    if (this.turns.includes(turn)) await this.library.keep(this.current(), this.turns);
  }

  #body(turns: Turn[]): ReturnType<typeof requestBody> {
    const pictures = new Map(picturesOf(turns).map((picture) => [picture.id, picture]));
    const { system, tools, thinking, parameters } = settings;
    const records: TurnRecord[] = turns.map((turn) => turn.record());
    return requestBody(records, { model: this.model?.id ?? settings.model, system, tools, thinking, parameters }, ({ id }) =>
      pictures.get(id)!.address,
    );
  }

  // The turns that the question being written follows.
  #history(): Turn[] {
    const end = this.editing ? this.turns.indexOf(this.editing) : -1;
    return end < 0 ? [...this.turns] : this.turns.slice(0, end);
  }

  // ---- the connection

  reconnect(): void {
    this.socket.connect();
    void this.loadModels();
  }

  #connected(state: SocketState): void {
    this.connection = state;
    if (state !== 'open') return;
    if (this.models.length === 0) void this.loadModels();
    for (const picture of picturesOf([...this.turns, new UserTurn('', '', this.pictures)])) picture.resume();
    for (const resolve of this.#opened.splice(0)) resolve();
  }

  #connection(): Promise<void> {
    if (this.connection === 'open') return Promise.resolve();
    if (this.connection === 'refused') return Promise.reject(new ApiError('key'));
    return new Promise((resolve, reject) => {
      this.#opened.push(resolve);
      const giveUp = () => {
        if (this.connection === 'loading') setTimeout(giveUp, CONNECT_MS); // it will come, after minutes perhaps
        else reject(new ApiError(this.connection === 'refused' ? 'key' : 'offline'));
      };
      setTimeout(giveUp, CONNECT_MS);
    });
  }

  // ---- kept conversations

  newConversation(): void {
    this.stop();
    this.conversationId = newId();
    this.turns = [];
    this.cancelEdit();
  }

  async open(record: ConversationRecord): Promise<void> {
    this.stop();
    const turns = await this.library.turns(record);
    this.cancelEdit();
    this.conversationId = record.id;
    this.turns = turns;
  }

  async remove(record: ConversationRecord): Promise<void> {
    if (record.id === this.conversationId) this.newConversation();
    await this.library.remove(record);
  }

  current(): ConversationRecord {
    const turns = this.turns.map((turn) => turn.record());
    return $state.snapshot({ id: this.conversationId, title: titleOf(turns), updated: Date.now(), turns }) as ConversationRecord;
  }
}

function asApiError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError('request', String(error));
}
