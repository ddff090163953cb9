// Makes a PNG that no server has seen, with the same pixels: a text chunk with random content before its end. So caches
// that go by content cannot help one run of a comparison more than another.

const END_CHUNK_BYTES = 12;

export function freshPng(png: Uint8Array, nonce: string): Uint8Array {
  const body = new TextEncoder().encode(`tEXtComment\0${nonce}`);
  const chunk = new Uint8Array(4 + body.length + 4);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, body.length - 4); // the length counts the data, not the type
  chunk.set(body, 4);
  view.setUint32(4 + body.length, crc32(body));

  const end = png.length - END_CHUNK_BYTES;
  const result = new Uint8Array(png.length + chunk.length);
  result.set(png.subarray(0, end));
  result.set(chunk, end);
  result.set(png.subarray(end), end + chunk.length);
  return result;
}

// PNG specification, annex D.
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; ++bit) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

export function base64(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}
