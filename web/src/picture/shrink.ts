// Whether a picture is made smaller before it is sent. The original is sent, byte for byte, unless
//   - it is larger than the server takes, or
//   - sending it would take more than 300 ms at the speed measured on this connection,
// and never below twice the size at which the model looks at it, per side: then nothing the model sees is lost.

export interface ShrinkInput {
  bytes: number;
  width: number;
  height: number;
  maxBytes: number; // the server's limit
  bytesPerMs: number | null; // measured upload speed; null: nothing measured yet
  maxPixels: number | null; // area to which the model scales larger pictures; null: unknown
}

export interface ShrinkPlan {
  width: number;
  height: number;
  reason: 'limit' | 'slow';
}

export const SLOW_UPLOAD_MS = 300;
// Fewer pixels need fewer bytes, but not in proportion; this margin makes one attempt enough for photographs.
const MARGIN = 0.85;

export function planShrink(input: ShrinkInput): ShrinkPlan | null {
  const { bytes, width, height, maxBytes, bytesPerMs, maxPixels } = input;
  const affordable = bytesPerMs === null ? Infinity : bytesPerMs * SLOW_UPLOAD_MS;
  const target = Math.min(maxBytes, affordable);
  if (bytes <= target || maxPixels === null) return null;

  const floor = modelScale(width, height, maxPixels) * 2; // twice the model's size per side
  if (floor >= 1) return null;
  const wanted = Math.sqrt((target / bytes) * MARGIN);
  const scale = Math.max(floor, wanted);
  return {
    width: Math.ceil(width * scale),
    height: Math.ceil(height * scale),
    reason: bytes > maxBytes ? 'limit' : 'slow',
  };
}

// By how much the model's own preprocessing scales the sides, at most 1.
export function modelScale(width: number, height: number, maxPixels: number): number {
  return Math.min(1, Math.sqrt(maxPixels / (width * height)));
}

// Upload speed on this connection, from pictures large enough to tell; newer ones count more.
export class UploadSpeed {
  #bytesPerMs: number | null = null;

  get bytesPerMs(): number | null {
    return this.#bytesPerMs;
  }

  measured(bytes: number, ms: number): void {
    if (bytes < 32 * 1024 || ms <= 0) return;
    const speed = bytes / ms;
    this.#bytesPerMs = this.#bytesPerMs === null ? speed : 0.5 * this.#bytesPerMs + 0.5 * speed;
  }
}
