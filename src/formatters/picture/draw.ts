import { parentPort, workerData } from 'node:worker_threads';
import { Resvg } from '@resvg/resvg-js';
import type { DrawOrder } from './png.ts';
import { FONT } from './svg.ts';

const { svg, zoom, fonts } = workerData as DrawOrder;
const resvg = new Resvg(svg, {
  fitTo: { mode: 'zoom', value: zoom },
  font: { loadSystemFonts: false, fontFiles: [...fonts], defaultFontFamily: FONT },
});
parentPort?.postMessage(resvg.render().asPng(), []);
