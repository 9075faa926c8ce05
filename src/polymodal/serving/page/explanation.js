// Why a row got its answer: what each stream did, and heat on the row's cells.
import { breakable, h, mediaOf, numberText, svg } from "./dom.js";
import { drawFilm, drawPicture, drawSeconds, drawSpectrum, largest, WEAKEST } from "./heat.js";
import { t } from "./messages.js";

const MOST_LISTED = 8;
const MOST_JOINED = 3;
const STRONGEST = 55; // percentage of colour behind the strongest word: its letters stay readable
const LEAST_SHARE = 0.05; // of the strongest input: weaker parts of a cell never get the full colour
const STANDS_OUT = 0.5; // of the full colour

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
  const units = {
    ...(unit === "value" ? AS_NUMBER : AS_POINTS),
    least: LEAST_SHARE * largest(streams.map(([, value]) => value)),
  };
  const title = schema.targets.length > 1 ? h("h3", { t: "why.of", tParams: { target } }) : h("h3", { t: "why" });
  const parts = [title, legend(units), effectTable(streams, units, "why.streams")];
  for (const [column, cell] of Object.entries(explanation.cells ?? {}))
    parts.push(await drawCell(column, cell, cellOf(row, column), units));
  const notices = (explanation.notices ?? []).map((notice) => h("p", { class: "note", lang: "en" }, notice));
  return h("div", { class: "part explanation" }, parts, notices);
}

function legend(units) {
  const unit = units.cell === pointsText ? h("span", { class: "unit-note", t: "in.points" }) : null;
  return h(
    "p",
    { class: "legend" },
    h("span", { class: "swatch for" }),
    h("span", { t: "for" }),
    " ",
    h("span", { class: "swatch against" }),
    h("span", { t: "against" }),
    unit,
  );
}

/** The cell of a column; that of the film where the column is the sound of one. */
const cellOf = (row, column) => row[column] ?? row[column.replace(/\.\w+$/, "")];

async function drawCell(column, heat, cell, units) {
  const drawn = [];
  const parts = heat.parts ?? [];
  const media = mediaOf(cell);
  if (heat.kind === "regions" && media)
    drawn.push(
      parts.some((part) => part.seconds)
        ? drawFilm(parts, media, column, units)
        : drawPicture(parts, media, column, units),
    );
  if (heat.words) drawn.push(drawWords(placedWords(heat), typeof cell === "string" ? cell : "", units));
  if (heat.seconds) drawn.push(await drawSeconds(heat.seconds, media, column, units));
  if (heat.columns) drawn.push(effectTable(heat.columns, units));
  if (heat.png && heat.over === "spectrum") drawn.push(drawSpectrum(heat.png, column));
  if (!drawn.length && parts.length)
    drawn.push(
      effectTable(
        parts.map((part) => [part.label, part.value]),
        units,
      ),
    );
  else if (heat.kind === "regions" && parts.some((part) => part.seconds)) drawn.push(strongestParts(parts, units));
  if (drawn.length && !standsOut(heat, units)) drawn.push(h("p", { class: "note", t: "heat.weak" }));
  return drawn.length ? h("figure", { class: "explained" }, h("figcaption", {}, breakable(column)), drawn) : null;
}

/** Words as `[word, value, start]`, `start` where the server tells it. */
function placedWords({ words, parts }) {
  return words.map(([word, value], place) => [word, value, parts?.[place]?.start]);
}

/** A text with its words coloured; what stands between the words stays as it is. */
function drawWords(words, whole, units) {
  const limit = largest(
    words.map(([, value]) => value),
    units.least,
  );
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
  return h(
    "mark",
    { class: `word ${side}`, title: units.full(value), style: { "--p": `${Math.round(STRONGEST * strength)}%` } },
    word,
    h("span", { class: "hidden" }, ` (${units.full(value)})`),
  );
}

/** Effects as signed bars, the strongest first. */
function effectTable(effects, units, title = null) {
  const ordered = [...effects].sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  if (!ordered.length) return null;
  const limit = largest(
    ordered.map(([, value]) => value),
    units.least,
  );
  const rest = ordered.slice(MOST_LISTED);
  const table = (entries, caption) =>
    h(
      "table",
      { class: "effects" },
      caption,
      h(
        "tbody",
        {},
        entries.map((entry) => effectRow(entry, limit, units)),
      ),
    );
  const more = rest.length
    ? h("details", {}, h("summary", { t: "more.columns", tParams: { count: rest.length } }), table(rest, null))
    : null;
  return h("div", {}, table(ordered.slice(0, MOST_LISTED), title ? h("caption", { t: title }) : null), more);
}

/** The strongest parts of a film, folded: the film shows them in their places. */
function strongestParts(parts, units) {
  const entries = parts.map((part) => [part.label, part.value]);
  return h("details", {}, h("summary", { t: "heat.parts" }), effectTable(entries, units));
}

/** A name; of many columns together the first and the last. */
function shortName(name) {
  const columns = String(name).split(",");
  return columns.length > MOST_JOINED
    ? h("span", { t: "columns.joined", tParams: { first: columns[0], last: columns.at(-1), count: columns.length } })
    : breakable(columns.join(", "));
}

function effectRow([name, value], limit, units) {
  const share = (50 * Math.abs(value)) / limit;
  const bar = svg(
    "svg",
    { viewBox: "0 0 100 12", preserveAspectRatio: "none", class: "effect", "aria-hidden": "true" },
    svg("rect", {
      class: value >= 0 ? "for" : "against",
      x: value >= 0 ? 50 : 50 - share,
      y: 1,
      width: share,
      height: 10,
    }),
    svg("path", { class: "origin", d: "M50 0V12" }),
  );
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, shortName(name)),
    h("td", { class: "bar-cell" }, bar),
    h("td", { class: "num" }, units.cell(value)),
  );
}

/** Whether a part of a cell gets at least half of the full colour. */
function standsOut({ parts = [], columns = [] }, units) {
  const strongest = largest([...parts.map((part) => part.value), ...columns.map(([, value]) => value)]);
  return strongest >= STANDS_OUT * Math.max(strongest, units.least);
}
