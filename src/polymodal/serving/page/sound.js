// Sounds: decoded for drawing, drawn, and written as WAV.
import { svg } from "./dom.js";

const PEAKS = 160;
let decoder = null;

/** Decode a sound; null where the browser cannot. Returns its length in seconds and its peaks, 0 to 1. */
export async function readSound(blob) {
  try {
    decoder ??= new OfflineAudioContext(1, 1, 48000);
    const buffer = await decoder.decodeAudioData(await blob.arrayBuffer());
    return { seconds: buffer.duration, peaks: peaksOf(buffer.getChannelData(0)) };
  } catch {
    return null;
  }
}

function peaksOf(samples) {
  const step = Math.max(1, Math.floor(samples.length / PEAKS));
  const peaks = [];
  for (let start = 0; start + step <= samples.length && peaks.length < PEAKS; start += step) {
    let peak = 0;
    for (let place = start; place < start + step; place += 1) peak = Math.max(peak, Math.abs(samples[place]));
    peaks.push(peak);
  }
  const loudest = Math.max(...peaks, 1e-6);
  return peaks.map((peak) => peak / loudest);
}

/** Draw the peaks of a sound as SVG of 100 × 40, the width in shares of its length; `below` is drawn behind them. */
export function drawWave({ peaks }, below = []) {
  const bars = peaks.map((peak, place) => {
    const x = (100 * (place + 0.5)) / peaks.length;
    const half = Math.max(0.6, 18 * peak);
    return `M${x.toFixed(2)} ${(20 - half).toFixed(2)}V${(20 + half).toFixed(2)}`;
  });
  return svg(
    "svg",
    { class: "wave", viewBox: "0 0 100 40", preserveAspectRatio: "none", "aria-hidden": "true" },
    ...below,
    svg("path", { d: bars.join(""), class: "peaks" }),
  );
}

/** Write samples of -1..1, in pieces, as a WAV file: mono, 16 bits. */
export function encodeWav(pieces, rate) {
  const numSamples = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * numSamples));
  const word = (place, text) => [...text].forEach((letter, at) => view.setUint8(place + at, letter.charCodeAt(0)));
  word(0, "RIFF");
  view.setUint32(4, 36 + 2 * numSamples, true);
  word(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // bytes of the format
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true); // bytes a second
  view.setUint16(32, 2, true); // bytes a sample
  view.setUint16(34, 16, true); // bits a sample
  word(36, "data");
  view.setUint32(40, 2 * numSamples, true);
  let place = 44;
  for (const piece of pieces) {
    for (const sample of piece) {
      view.setInt16(place, Math.round(32767 * Math.max(-1, Math.min(1, sample))), true);
      place += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
}
