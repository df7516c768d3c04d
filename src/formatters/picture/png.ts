import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

/** Larger pictures are drawn pixel by pixel, smaller ones at twice the size, for sharp letters. */
const SHARP_BELOW = 1_200;
const WITHIN_MS = 15_000;

/** What the drawing thread is told, and what it answers. */
export type DrawOrder = { readonly svg: string; readonly zoom: number; readonly fonts: readonly string[] };

/**
 * Draws an SVG of ours as PNG, with the font that comes with the program and no other. In a thread of its own that ends
 * with the picture: the drawing library gives its memory back only then. Rejects when it cannot be drawn.
 */
export async function renderPng(picture: { readonly svg: string; readonly width: number }): Promise<Buffer> {
  const fonts = [
    import.meta.resolve('dejavu-fonts-ttf/ttf/DejaVuSans.ttf'),
    import.meta.resolve('dejavu-fonts-ttf/ttf/DejaVuSans-Bold.ttf'),
  ].map((url) => fileURLToPath(url));
  const order: DrawOrder = { svg: picture.svg, zoom: picture.width < SHARP_BELOW ? 2 : 1, fonts };
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const worker = new Worker(new URL('./draw.ts', import.meta.url), { workerData: order });
  const timer = setTimeout(() => reject(new Error('the picture took too long to draw')), WITHIN_MS);
  worker.once('message', (bytes: Uint8Array) => resolve(Buffer.from(bytes)));
  worker.once('error', reject);
  worker.once('exit', () => reject(new Error('the picture was not drawn')));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    await worker.terminate();
  }
}
