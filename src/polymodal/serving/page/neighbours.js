// The rows of the index that are nearest to a row.
import { text } from "./answer.js";
import { breakable, h, mediaOf, numberText } from "./dom.js";

const MOST_CELLS = 6;
const MOST_LETTERS = 140;

/** All hits, nearest first. `schema` names the targets, whose cells stand first. */
export function drawNeighbours(hits, schema) {
  const targets = new Set(schema.targets.map((target) => target.name));
  const cards = hits.map((hit) => drawHit(hit, targets));
  return h(
    "div",
    { class: "part" },
    h("h3", { t: "near" }),
    cards.length ? h("ol", { class: "cards" }, cards) : h("p", { class: "note", t: "none" }),
  );
}

function drawHit({ score, row, cells }, targets) {
  const entries = Object.entries(cells ?? {}).sort(([a], [b]) => Number(targets.has(b)) - Number(targets.has(a)));
  const media = entries.filter(([, cell]) => mediaOf(cell));
  const plain = entries.filter(([, cell]) => !mediaOf(cell) && cell !== null && cell !== "").slice(0, MOST_CELLS);
  const facts = plain.flatMap(([column, cell]) => [
    h("dt", {}, breakable(column)),
    h("dd", { dir: "auto", class: targets.has(column) ? "strong" : null }, breakable(short(cell))),
  ]);
  return h(
    "li",
    { class: "near-row" },
    h("p", { class: "note", t: "similarity", tParams: { row, score: score.toFixed(3) } }),
    media.map(([column, cell]) => drawMedia(column, mediaOf(cell))),
    facts.length ? h("dl", { class: "values" }, facts) : null,
  );
}

function short(cell) {
  const whole = typeof cell === "number" ? numberText(cell) : text(cell);
  return whole.length > MOST_LETTERS ? `${whole.slice(0, MOST_LETTERS)}…` : whole;
}

function drawMedia(column, { base64, type }) {
  const address = `data:${type};base64,${base64}`;
  if (type.startsWith("image/")) return h("img", { src: address, alt: column, class: "thumb" });
  if (type.startsWith("audio/")) return h("audio", { src: address, controls: true, "aria-label": column });
  if (type.startsWith("video/")) return h("video", { src: address, controls: true, muted: true, "aria-label": column });
  return null;
}
