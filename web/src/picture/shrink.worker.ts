// Scales a picture down, off the page's thread.

export interface ShrinkRequest {
  blob: Blob;
  width: number;
  height: number;
}

export type ShrinkReply = { blob: Blob } | { error: string };

const JPEG_QUALITY = 0.92;

self.onmessage = async (event: MessageEvent<ShrinkRequest>) => {
  const { blob, width, height } = event.data;
  try {
    const bitmap = await createImageBitmap(blob, { resizeWidth: width, resizeHeight: height, resizeQuality: 'high' });
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext('2d')!.drawImage(bitmap, 0, 0);
    bitmap.close();
    // Screenshots and drawings stay lossless.
    const type = blob.type === 'image/png' ? 'image/png' : 'image/jpeg';
    const reply: ShrinkReply = { blob: await canvas.convertToBlob({ type, quality: JPEG_QUALITY }) };
    self.postMessage(reply);
  } catch (error) {
    const reply: ShrinkReply = { error: String(error) };
    self.postMessage(reply);
  }
};
