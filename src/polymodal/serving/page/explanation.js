// Why a row got its answer: what each stream did, and heat on the row's cells.
import { blobOf, breakable, h, mediaOf, nextId, numberText, svg } from "./dom.js";
import { t, tellAttribute } from "./messages.js";
import { drawWave, readSound } from "./sound.js";

const MOST_LISTED = 12;
const MOST_OPAQUE = 0.75;
const STRONGEST = 55; // percentage of colour behind the strongest word: its letters stay readable
const LEAST_SHARE = 0.05; // of the strongest input: weaker parts of a cell never get the full colour
const STANDS_OUT = 0.5; // of the full colour
const WEAKEST = 0.04; // weaker words, against the strongest, are not coloured

// How effects are written: those on a number as they are, those on a probability in percentage points.
const sign = (value) => (value < 0 ? "−" : "+");

const plainText = (value) => sign(value) + numberText(Math.abs(value));

function pointsText(value) {
  const text = (100 * Math.abs(value)).toFixed(1);
  return text === "0.0" ? text : sign(value) + text;
}

const AS_NUMBER = { cell: plainText, full: plainText };
const AS_POINTS = { cell: pointsText, full: (value) => t("points", { value: pointsText(value) }) };

/** All of the explanation of one target, a promise of an element. `row` is what was asked about, column to cell. */
export async function drawExplanation(explanation, row, schema) {
  const target = explanation.target ?? Object.keys(explanation.streams ?? {})[0];
  const kind = schema.targets.find(({ name }) => name === target)?.kind;
  const unit = explanation.answers?.[target]?.unit ?? (kind === "number" ? "value" : "probability");
  const streams = Object.entries(explanation.streams?.[target] ?? {});
  const units = { ...(unit === "value" ? AS_NUMBER : AS_POINTS), least: LEAST_SHARE * largest(streams.map(([, value]) => value)) };
  const title = schema.targets.length > 1 ? h("h3", { t: "why.of", tParams: { target } }) : h("h3", { t: "why" });
  const parts = [title, legend(units), effectTable(streams, units, "why.streams")];
  for (const [column, cell] of Object.entries(explanation.cells ?? {})) parts.push(await drawCell(column, cell, row[column], units));
  const notices = (explanation.notices ?? []).map((notice) => h("p", { class: "note", lang: "en" }, notice));
  return h("div", { class: "part explanation" }, parts, notices);
}

function legend(units) {
  const unit = units.cell === pointsText ? h("span", { class: "unit-note", t: "in.points" }) : null;
  return h("p", { class: "legend" }, h("span", { class: "swatch for" }), h("span", { t: "for" }), " ", h("span", { class: "swatch against" }), h("span", { t: "against" }), unit);
}

async function drawCell(column, heat, cell, units) {
  const drawn = [];
  const parts = heat.parts ?? [];
  const regions = parts.filter((part) => Array.isArray(part.box) && part.box.length === 4 && !part.seconds);
  if (regions.length && mediaOf(cell)?.type.startsWith("image/")) drawn.push(drawOverlay(drawRegions(regions, units), mediaOf(cell), column));
  else if (heat.png && heat.over === "picture" && mediaOf(cell)) drawn.push(drawOverlay(drawPng(heat.png, column), mediaOf(cell), column));
  if (heat.words) drawn.push(drawWords(placedWords(heat), typeof cell === "string" ? cell : "", units));
  if (heat.seconds) drawn.push(await drawSeconds(addUp(heat.seconds), mediaOf(cell), column, units));
  if (heat.columns) drawn.push(effectTable(heat.columns, units));
  if (heat.png && heat.over !== "picture") drawn.push(drawPng(heat.png, column), h("p", { class: "note", t: `heat.${heat.over ?? "image"}.note` }));
  if (!drawn.length && parts.length) drawn.push(effectTable(parts.map((part) => [part.label, part.value]), units));
  if (drawn.length && !standsOut(heat, units)) drawn.push(h("p", { class: "note", t: "heat.weak" }));
  return drawn.length ? h("figure", { class: "explained" }, h("figcaption", {}, breakable(column)), drawn) : null;
}

function drawPng(png, column) {
  return h("img", { class: "heated", src: `data:image/png;base64,${png}`, tLabel: "heat.image", tParams: { name: column }, alt: column });
}

/** A picture with the heat over it, and a switch that takes the heat away. */
function drawOverlay(over, { base64, type }, column) {
  over.classList.add("over");
  const picture = h("img", { src: `data:${type || "image/png"};base64,${base64}`, alt: "" });
  tellAttribute(picture, "label", "heat.image", { name: column });
  picture.onload = () => { if (Math.max(picture.naturalWidth, picture.naturalHeight) <= 160) picture.classList.add("pixels"); };
  const box = h("input", { type: "checkbox", checked: true, on: { change: () => { over.toggleAttribute("hidden", !box.checked); } } });
  return [h("div", { class: "frame" }, picture, over), h("label", { class: "only" }, box, h("span", { t: "heat.show" }))];
}

/** The regions of a picture, hatched where they speak against the answer. */
function drawRegions(regions, units) {
  const limit = largest(regions.map((part) => part.value), units.least);
  const pattern = nextId("hatch");
  const lines = svg("pattern", { id: pattern, width: 4, height: 4, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("path", { class: "hatch", d: "M0 0V4" }));
  const drawn = regions.filter((part) => Math.abs(part.value) >= WEAKEST * limit).flatMap(({ box, value, label }) => {
    const [left, top, right, bottom] = box.map((share) => 100 * share);
    const place = { x: left, y: top, width: right - left, height: bottom - top };
    const region = svg("rect", { ...place, class: value >= 0 ? "for" : "against", "fill-opacity": (MOST_OPAQUE * Math.abs(value)) / limit },
      svg("title", {}, `${label}: ${units.full(value)}`));
    return value < 0 ? [region, svg("rect", { ...place, fill: `url(#${pattern})`, opacity: Math.abs(value) / limit, "pointer-events": "none" })] : [region];
  });
  return svg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("defs", {}, lines), ...drawn);
}

/** Words as `[word, value, start]`, `start` where the server tells it. */
function placedWords({ words, parts }) {
  return words.map(([word, value], place) => [word, value, parts?.[place]?.start]);
}

/** A text with its words coloured; what stands between the words stays as it is. */
function drawWords(words, whole, units) {
  const limit = largest(words.map(([, value]) => value), units.least);
  const ordered = [...words].sort((a, b) => (a[2] ?? 0) - (b[2] ?? 0));
  const pieces = [];
  let place = 0;
  for (const [word, value] of ordered) {
    const found = whole.indexOf(word, place);
    if (found >= 0) {
      pieces.push(whole.slice(place, found));
      place = found + word.length;
    } else if (pieces.length) pieces.push(" ");
    pieces.push(drawWord(word, value, limit, units));
  }
  pieces.push(whole.slice(place));
  return h("blockquote", { class: "words", dir: "auto" }, pieces);
}

function drawWord(word, value, limit, units) {
  const strength = Math.abs(value) / limit;
  if (strength < WEAKEST) return word;
  const side = value > 0 ? "for" : "against";
  return h("mark", { class: `word ${side}`, title: units.full(value), style: { "--p": `${Math.round(STRONGEST * strength)}%` } },
    word, h("span", { class: "hidden" }, ` (${units.full(value)})`));
}

/** Add up the frequency bands of the same seconds. */
function addUp(seconds) {
  const sums = new Map();
  for (const [start, end, value] of seconds) {
    const key = `${start} ${end}`;
    sums.set(key, [start, end, value + (sums.get(key)?.[2] ?? 0)]);
  }
  return [...sums.values()];
}

/** A sound with its seconds coloured, and a player. */
async function drawSeconds(seconds, media, column, units) {
  const limit = largest(seconds.map(([, , value]) => value), units.least);
  const blob = media && blobOf(media.base64, media.type);
  const sound = (blob && (await readSound(blob))) || { seconds: Math.max(...seconds.map(([, end]) => end)), peaks: [] };
  const share = (second) => (100 * Math.min(second, sound.seconds)) / sound.seconds;
  const stripes = seconds.map(([start, end, value]) => svg("rect", {
    class: value >= 0 ? "for" : "against", x: share(start), y: 0, width: share(end) - share(start), height: 40, opacity: (0.7 * Math.abs(value)) / limit,
  }));
  const strongest = [...seconds].sort((a, b) => Math.abs(b[2]) - Math.abs(a[2]))[0];
  const params = strongest && { start: strongest[0].toFixed(2), end: strongest[1].toFixed(2), value: units.full(strongest[2]) };
  const player = blob ? h("audio", { controls: true, src: URL.createObjectURL(blob), tLabel: "preview.audio", tParams: { name: column } }) : null;
  return h("div", { class: "heard" }, drawWave(sound, stripes),
    h("p", { class: "ends", "aria-hidden": "true" }, h("span", {}, "0 s"), h("span", {}, `${sound.seconds.toFixed(1)} s`)),
    params && limit > units.least ? h("p", { class: "note", t: "heat.seconds", tParams: params }) : null, player);
}

/** Effects as signed bars, the strongest first. */
function effectTable(effects, units, title = null) {
  const ordered = [...effects].sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  if (!ordered.length) return null;
  const limit = largest(ordered.map(([, value]) => value), units.least);
  const rest = ordered.slice(MOST_LISTED);
  const table = (entries, caption) => h("table", { class: "effects" }, caption, h("tbody", {}, entries.map((entry) => effectRow(entry, limit, units))));
  const more = rest.length ? h("details", {}, h("summary", { t: "more.columns", tParams: { count: rest.length } }), table(rest, null)) : null;
  return h("div", {}, table(ordered.slice(0, MOST_LISTED), title ? h("caption", { t: title }) : null), more);
}

function effectRow([name, value], limit, units) {
  const share = (50 * Math.abs(value)) / limit;
  const bar = svg("svg", { viewBox: "0 0 100 12", preserveAspectRatio: "none", class: "effect", "aria-hidden": "true" },
    svg("rect", { class: value >= 0 ? "for" : "against", x: value >= 0 ? 50 : 50 - share, y: 1, width: share, height: 10 }),
    svg("path", { class: "origin", d: "M50 0V12" }));
  return h("tr", {}, h("th", { scope: "row" }, breakable(name)), h("td", { class: "bar-cell" }, bar), h("td", { class: "num" }, units.cell(value)));
}

const largest = (values, least = 0) => Math.max(1e-12, least, ...values.map(Math.abs));

/** Whether a part of a cell gets at least half of the full colour. */
function standsOut({ parts = [], columns = [] }, units) {
  const strongest = largest([...parts.map((part) => part.value), ...columns.map(([, value]) => value)]);
  return strongest >= STANDS_OUT * Math.max(strongest, units.least);
}
