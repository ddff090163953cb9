// The server's clock seen from the page: offset = page ms − server ms, from round trips. The shortest round trip knows
// best: its error is at most half its length.

export class ClockSync {
  #best: { offset: number; roundTrip: number } | null = null;

  // A ping left at `sent`, the server's clock read `server`, the answer arrived at `received`.
  sample(sent: number, server: number, received: number): void {
    const roundTrip = received - sent;
    if (roundTrip < 0 || !Number.isFinite(server)) return;
    // Clocks drift: an old sample loses to a somewhat longer new one.
    if (this.#best && roundTrip > this.#best.roundTrip) {
      this.#best.roundTrip *= 1.05;
      return;
    }
    this.#best = { offset: (sent + received) / 2 - server, roundTrip };
  }

  reset(): void {
    this.#best = null;
  }

  get offset(): number | null {
    return this.#best?.offset ?? null;
  }

  get roundTrip(): number | null {
    return this.#best?.roundTrip ?? null;
  }
}
