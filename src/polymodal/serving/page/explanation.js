// Why a row got its answer: what each stream did, and heat on the row's cells.
import { h, mediaOf, numberText, percentText, svg } from "./dom.js";
import { drawWave, readSound } from "./sound.js";
import { blobOf } from "./dom.js";

const MOST_LISTED = 12;
const STRONGEST = 55; // percentage of colour behind the strongest word: its letters stay readable

/** All of an explanation, a promise of elements. `row` is what was asked about, column to cell. */
export async function drawExplanation(explanation, row) {
  const parts = [h("h3", { t: "why" }), legend()];
  for (const [target, shares] of Object.entries(explanation.streams ?? {})) {
    const isOnly = Object.keys(explanation.streams).length === 1;
    parts.push(effectTable(Object.entries(shares), isOnly ? "why.streams" : "why.streams.of", { target }));
  }
  for (const [column, cell] of Object.entries(explanation.cells ?? {})) parts.push(await drawCell(column, cell, row[column]));
  return h("div", { class: "part explanation" }, parts.filter(Boolean));
}

const legend = () => h("p", { class: "legend" }, h("span", { class: "swatch for" }), h("span", { t: "for" }), " ", h("span", { class: "swatch against" }), h("span", { t: "against" }));

async function drawCell(column, heat, cell) {
  const drawn = [];
  if (heat.png) drawn.push(drawPng(heat.png, column));
  else if (heat.regions && mediaOf(cell)) drawn.push(drawRegions(heat.regions, mediaOf(cell)));
  if (heat.words) drawn.push(drawWords(heat.words, typeof cell === "string" ? cell : ""));
  if (heat.seconds) drawn.push(await drawSeconds(heat.seconds, mediaOf(cell), column));
  if (heat.columns) drawn.push(effectTable(heat.columns));
  if (!drawn.length) return null;
  return h("figure", { class: "explained" }, h("figcaption", {}, column), drawn);
}

function drawPng(png, column) {
  return h("img", { class: "heated", src: `data:image/png;base64,${png}`, tLabel: "heat.image", tParams: { name: column }, alt: column });
}

/** Heat of regions, `[[left, top, right, bottom] in shares, value]`, over a picture. */
function drawRegions(regions, media) {
  const limit = largest(regions.map(([, value]) => value));
  const drawn = regions.map(([[left, top, right, bottom], value]) =>
    svg("rect", { class: value >= 0 ? "for" : "against", x: left, y: top, width: right - left, height: bottom - top, opacity: (0.75 * Math.abs(value)) / limit }));
  return h("div", { class: "frame" }, h("img", { src: `data:${media.type};base64,${media.base64}`, alt: "" }),
    svg("svg", { class: "over", viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" }, ...drawn));
}

/** A text with its words coloured; what stands between the words stays as it is. */
function drawWords(words, whole) {
  const limit = largest(words.map(([, value]) => value));
  const pieces = [];
  let place = 0;
  for (const [word, value] of words) {
    const found = whole.indexOf(word, place);
    if (found >= 0) pieces.push(whole.slice(place, found));
    else if (pieces.length) pieces.push(" ");
    if (found >= 0) place = found + word.length;
    pieces.push(drawWord(word, value, limit));
  }
  pieces.push(whole.slice(place));
  return h("blockquote", { class: "words", dir: "auto" }, pieces);
}

function drawWord(word, value, limit) {
  const strength = Math.abs(value) / limit;
  if (strength < 0.04) return word;
  const side = value > 0 ? "for" : "against";
  return h("mark", { class: `word ${side}`, title: signedText(value), style: { "--p": `${Math.round(STRONGEST * strength)}%` } }, word,
    h("span", { class: "hidden" }, ` (${signedText(value)})`));
}

/** A sound with its seconds coloured, and a player. */
async function drawSeconds(seconds, media, column) {
  const limit = largest(seconds.map(([, , value]) => value));
  const blob = media && blobOf(media.base64, media.type);
  const sound = (blob && (await readSound(blob))) || { seconds: Math.max(...seconds.map(([, end]) => end)), peaks: [] };
  const stripes = seconds.map(([start, end, value]) => svg("rect", {
    class: value >= 0 ? "for" : "against",
    x: (100 * start) / sound.seconds, y: 0, width: Math.max(0, (100 * (Math.min(end, sound.seconds) - start)) / sound.seconds), height: 40,
    opacity: (0.7 * Math.abs(value)) / limit,
  }));
  const strongest = [...seconds].sort((a, b) => Math.abs(b[2]) - Math.abs(a[2]))[0];
  const said = strongest && h("p", { class: "note", t: "heat.seconds", tParams: { start: strongest[0].toFixed(2), end: strongest[1].toFixed(2), value: signedText(strongest[2]) } });
  const player = blob ? h("audio", { controls: true, src: URL.createObjectURL(blob), tLabel: "preview.audio", tParams: { name: column } }) : null;
  return h("div", { class: "heard" }, drawWave(sound, stripes), h("p", { class: "ends", "aria-hidden": "true" }, h("span", {}, "0 s"), h("span", {}, `${sound.seconds.toFixed(1)} s`)), said, player);
}

/** Effects as signed bars, the strongest first. */
function effectTable(effects, title = null, params = {}) {
  const ordered = [...effects].sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  if (!ordered.length) return null;
  const limit = largest(ordered.map(([, value]) => value));
  const caption = title ? h("caption", { t: title, tParams: params }) : null;
  const rest = ordered.slice(MOST_LISTED);
  const table = (entries, head) => h("table", { class: "effects" }, head, h("tbody", {}, entries.map((entry) => effectRow(entry, limit))));
  const more = rest.length ? h("details", {}, h("summary", { t: "more.columns", tParams: { count: rest.length } }), table(rest, null)) : null;
  return h("div", {}, table(ordered.slice(0, MOST_LISTED), caption), more);
}

function effectRow([name, value], limit) {
  const share = (50 * Math.abs(value)) / limit;
  const bar = svg("svg", { viewBox: "0 0 100 12", preserveAspectRatio: "none", class: "effect", "aria-hidden": "true" },
    svg("rect", { class: value >= 0 ? "for" : "against", x: value >= 0 ? 50 : 50 - share, y: 1, width: share, height: 10 }),
    svg("path", { class: "origin", d: "M50 0V12" }));
  return h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: "bar-cell" }, bar), h("td", { class: "num" }, signedText(value)));
}

const largest = (values) => Math.max(1e-12, ...values.map(Math.abs));

/** An effect on a probability in percentage points; on a number as it is. */
function signedText(value) {
  const sign = value < 0 ? "−" : "+";
  return Math.abs(value) <= 1 ? sign + percentText(Math.abs(value)).replace(/^[<>] /, "") : sign + numberText(Math.abs(value));
}
