// The kept conversations: the list that the sidebar shows, and their way into storage and back.

import { Picture, type PictureContext } from '../picture/picture.svelte';
import type { ConversationRecord, UserRecord } from './conversation';
import { Storage } from './storage';
import { AnswerTurn, picturesOf, UserTurn, type Turn } from './turn.svelte';

export class Library {
  conversations: ConversationRecord[] = $state.raw([]); // newest first
  readonly #storage = new Storage();
  readonly #context: PictureContext;

  constructor(context: PictureContext) {
    this.#context = context;
  }

  async load(): Promise<void> {
    this.conversations = await this.#storage.trim(await this.#storage.conversations());
  }

  async keep(record: ConversationRecord, turns: Turn[]): Promise<void> {
    this.conversations = [record, ...this.#without(record)];
    for (const picture of picturesOf(turns)) await this.#storage.savePicture(picture.id, picture.blob);
    await this.#storage.save(record);
  }

  async remove(record: ConversationRecord): Promise<void> {
    this.conversations = this.#without(record);
    await this.#storage.remove(record);
  }

  // The conversation's turns, pictures included; they are sent to the server when they are asked about.
  async turns(record: ConversationRecord): Promise<Turn[]> {
    const turns: Turn[] = [];
    for (const turn of record.turns) {
      turns.push(turn.role === 'user' ? await this.#restored(turn) : new AnswerTurn(structuredClone(turn)));
    }
    return turns;
  }

  async #restored(turn: UserRecord): Promise<UserTurn> {
    const pictures: Picture[] = [];
    for (const { id, name, width, height } of turn.pictures) {
      const blob = await this.#storage.picture(id);
      if (!blob) continue; // the browser has made room
      const picture = new Picture(id, blob, name, this.#context);
      picture.width = width;
      picture.height = height;
      pictures.push(picture);
    }
    return new UserTurn(turn.id, turn.text, pictures);
  }

  #without(record: ConversationRecord): ConversationRecord[] {
    return this.conversations.filter(({ id }) => id !== record.id);
  }
}
