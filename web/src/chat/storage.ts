// Conversations and their pictures, on this device (IndexedDB). Without it (private mode) nothing is kept and nothing fails.

import type { ConversationRecord } from './conversation';

const NAME = 'glimpse';
const VERSION = 1;
const MAX_CONVERSATIONS = 200;

export class Storage {
  #database: Promise<IDBDatabase | null> | null = null;

  // Newest first.
  async conversations(): Promise<ConversationRecord[]> {
    const all = (await this.#run('conversations', 'readonly', (store) => store.getAll())) as ConversationRecord[] | null;
    return (all ?? []).sort((a, b) => b.updated - a.updated);
  }

  async save(conversation: ConversationRecord): Promise<void> {
    await this.#run('conversations', 'readwrite', (store) => store.put(conversation));
  }

  async savePicture(id: string, blob: Blob): Promise<void> {
    await this.#run('pictures', 'readwrite', (store) => store.put(blob, id));
  }

  async picture(id: string): Promise<Blob | null> {
    const blob = await this.#run('pictures', 'readonly', (store) => store.get(id));
    return blob instanceof Blob ? blob : null;
  }

  async remove(conversation: ConversationRecord): Promise<void> {
    await this.#run('conversations', 'readwrite', (store) => store.delete(conversation.id));
    for (const turn of conversation.turns) {
      if (turn.role !== 'user') continue;
      for (const { id } of turn.pictures) await this.#run('pictures', 'readwrite', (store) => store.delete(id));
    }
  }

  // Removes the oldest conversations beyond the bound; returns those that stay.
  async trim(conversations: ConversationRecord[]): Promise<ConversationRecord[]> {
    for (const old of conversations.slice(MAX_CONVERSATIONS)) await this.remove(old);
    return conversations.slice(0, MAX_CONVERSATIONS);
  }

  async #run(
    store: 'conversations' | 'pictures',
    mode: IDBTransactionMode,
    work: (store: IDBObjectStore) => IDBRequest,
  ): Promise<unknown> {
    const database = await (this.#database ??= open());
    if (!database) return null;
    return new Promise((resolve) => {
      try {
        const request = work(database.transaction(store, mode).objectStore(store));
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => resolve(null); // full disk: the page goes on without
      } catch {
        resolve(null);
      }
    });
  }
}

function open(): Promise<IDBDatabase | null> {
  return new Promise((resolve) => {
    try {
      const request = indexedDB.open(NAME, VERSION);
      request.onupgradeneeded = () => {
        request.result.createObjectStore('conversations', { keyPath: 'id' });
        request.result.createObjectStore('pictures');
      };
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
}
