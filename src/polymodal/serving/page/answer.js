// The answer of a row: values, probabilities, what is promised, streams' shares, and what was absent or broken.
import { drawLines } from "./array-control.js";
import { breakable, h, numberText, percentText, svg } from "./dom.js";

const MOST_BARS = 6;
const MOST_CHIPS = 12;
const OTHERS = "others"; // what the server names the sum of the least probable of many classes

/** All of an answer. `coverageTool` is the slider's element, which stays the same from answer to answer. */
export function drawAnswer({ row, notices = [], requestId, seconds, schema, coverage, coverageTool }) {
  const targets = schema.targets.filter((target) => row.predictions[target.name] !== undefined);
  const drawn = targets.map((target) => drawTarget(target, row.predictions[target.name], targets.length > 1));
  const promises = targets
    .map((target) => drawPromise(target, row.predictions[target.name], targets.length > 1))
    .filter(Boolean);
  return [
    ...drawn,
    promises.length
      ? h(
          "div",
          { class: "part promise" },
          h("h3", { t: "promise" }),
          coverageTool,
          promises,
          h("p", { class: "note", t: "promise.note", tParams: { coverage: `${Math.round(100 * coverage)} %` } }),
        )
      : null,
    drawShares("shares", row.weights),
    drawRemarks(row, notices),
    h("p", {
      class: "note fine",
      t: "answered",
      tParams: { milliseconds: Math.round(1000 * seconds), id: requestId ?? "–" },
    }),
  ].filter(Boolean);
}

function drawTarget(target, prediction, isNamed) {
  const draw = DRAWN[target.kind] ?? drawPlain;
  return h(
    "div",
    { class: "target" },
    isNamed || target.name ? h("p", { class: "eyebrow target-name" }, target.name) : null,
    draw(prediction, target),
  );
}

const sure = (confidence) =>
  typeof confidence === "number"
    ? h("span", { class: "sure", t: "sure", tParams: { share: percentText(confidence) } })
    : null;

function drawClass(prediction) {
  return [
    h(
      "p",
      { class: "value", dir: "auto" },
      text(prediction.value),
      " ",
      sure(prediction.confidence ?? prediction.probabilities?.[prediction.value]),
    ),
    drawBars(prediction.probabilities, new Set([text(prediction.value)])),
  ].filter(Boolean);
}

function drawLabels(prediction) {
  const values = Array.isArray(prediction.value) ? prediction.value.map(text) : [];
  const chips = values.length
    ? values.map((value) => h("span", { class: "chip strong" }, value))
    : h("span", { class: "note", t: "none" });
  return [h("p", { class: "value chips" }, chips), drawBars(prediction.probabilities, new Set(values))].filter(Boolean);
}

function drawNumber(prediction, target) {
  const unit = target.unit ? h("span", { class: "sure" }, ` ${target.unit}`) : null;
  return [h("p", { class: "value" }, numberText(prediction.value), unit)];
}

function drawText(prediction) {
  const words = text(prediction.value);
  return [
    h("blockquote", { class: "said", dir: "auto" }, words || h("span", { class: "note", t: "none" })),
    sureLine(prediction),
  ].filter(Boolean);
}

const sureLine = ({ confidence }) => (typeof confidence === "number" ? h("p", {}, sure(confidence)) : null);

function drawBoxes(prediction) {
  const boxes = Array.isArray(prediction.value) ? prediction.value : [];
  if (!boxes.length) return [h("p", { class: "value" }, h("span", { class: "note", t: "none" }))];
  const rows = boxes.map((box, place) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, `${place + 1}. ${text(box.label)}`),
      h("td", { class: "num" }, (box.box ?? []).map((side) => Math.round(side)).join(", ")),
      h("td", { class: "num" }, typeof box.score === "number" ? percentText(box.score) : "–"),
    ),
  );
  return [
    h("p", { class: "value", t: "boxes", tParams: { count: boxes.length } }),
    h("div", { class: "box-picture", "data-boxes": JSON.stringify(boxes) }),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", tLabel: "boxes.table" },
      h("table", {}, h("tbody", {}, rows)),
    ),
  ];
}

function drawSeries(prediction) {
  return [
    drawLines(prediction.value),
    h("details", {}, h("summary", { t: "values" }), h("pre", {}, JSON.stringify(prediction.value))),
  ];
}

function drawPicture(prediction) {
  const source =
    typeof prediction.value === "string" && prediction.value.startsWith("data:image/")
      ? prediction.value
      : prediction.value?.base64
        ? `data:${prediction.value.type || "image/png"};base64,${prediction.value.base64}`
        : null;
  return source ? [h("img", { src: source, alt: "", class: "made" })] : drawPlain(prediction);
}

function drawPlain(prediction) {
  const value = prediction.value;
  return [
    typeof value === "object" && value !== null
      ? h("pre", {}, JSON.stringify(value))
      : h("p", { class: "value" }, text(value)),
    sureLine(prediction),
  ].filter(Boolean);
}

const DRAWN = {
  category: drawClass,
  categories: drawLabels,
  number: drawNumber,
  caption: drawText,
  transcript: drawText,
  boxes: drawBoxes,
  series: drawSeries,
  vector: drawSeries,
  image: drawPicture,
};

/** A label as text: true and null too. */
export const text = (value) =>
  value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);

function drawBars(probabilities, chosen) {
  if (!probabilities) return null;
  const entries = Object.entries(probabilities).sort((a, b) => b[1] - a[1]);
  const [first, rest] = [entries.slice(0, MOST_BARS), entries.slice(MOST_BARS)];
  const more = rest.length
    ? h("details", {}, h("summary", { t: "more.classes", tParams: { count: rest.length } }), barTable(rest, chosen))
    : null;
  return h("div", { class: "bars" }, barTable(first, chosen), more);
}

function barTable(entries, chosen) {
  const rows = entries.map(([label, share]) =>
    h(
      "tr",
      { class: chosen.has(label) ? "chosen" : null },
      h("th", { scope: "row", dir: "auto" }, label === OTHERS ? h("i", { t: "others" }) : breakable(label)),
      h(
        "td",
        { class: "bar-cell", "aria-hidden": "true" },
        h("span", { class: "bar", style: { "--share": `${(100 * share).toFixed(2)}%` } }),
      ),
      h("td", { class: "num" }, percentText(share)),
    ),
  );
  return h("table", { class: "bar-table", tLabel: "probabilities" }, h("tbody", {}, rows));
}

function drawPromise(target, prediction, isNamed) {
  const name = isNamed ? h("p", { class: "eyebrow target-name" }, breakable(target.name)) : null;
  if (Array.isArray(prediction.set)) {
    const labels = prediction.set.map((label) =>
      h("span", { class: "chip strong", dir: "auto" }, breakable(text(label))),
    );
    const [first, rest] = [labels.slice(0, MOST_CHIPS), labels.slice(MOST_CHIPS)];
    const more = rest.length
      ? h(
          "details",
          {},
          h("summary", { t: "more.classes", tParams: { count: rest.length } }),
          h("p", { class: "chips" }, rest),
        )
      : null;
    return h(
      "div",
      { class: "promised" },
      name,
      h("p", { class: "chips" }, labels.length ? first : h("span", { class: "note", t: "set.none" })),
      more,
    );
  }
  if (!Array.isArray(prediction.interval)) return null;
  const [low, high] = prediction.interval;
  return h(
    "div",
    { class: "promised" },
    name,
    h("p", {
      t: intervalKey(low, high),
      tParams: {
        low: low === null ? "" : numberText(low),
        high: high === null ? "" : numberText(high),
        unit: target.unit ?? "",
      },
    }),
    drawInterval(low, high, prediction.value),
  );
}

/** The message of an interval, whose ends are null where it has none. */
function intervalKey(low, high) {
  if (low === null && high === null) return "interval.any";
  if (high === null) return "interval.above";
  return low === null ? "interval.below" : "interval";
}

function drawInterval(low, high, value) {
  if (low === null || high === null || typeof value !== "number" || low === high) return null;
  const x = (number) => Math.min(99.5, Math.max(0.5, 0.5 + (99 * (number - low)) / (high - low)));
  const line = svg(
    "svg",
    { class: "interval-line", viewBox: "0 0 100 20", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { class: "whisker", d: `M${x(low)} 10H${x(high)}M${x(low)} 5V15M${x(high)} 5V15` }),
    svg("path", { class: "middle", d: `M${x(value)} 3V17` }),
  );
  return h("div", { class: "interval" }, line);
}

/** Shares of streams as bars; nothing for one stream alone, or none. */
export function drawShares(title, shares) {
  const entries = Object.entries(shares ?? {})
    .filter(([, share]) => typeof share === "number")
    .sort((a, b) => b[1] - a[1]);
  if (entries.length < 2) return null;
  const rows = entries.map(([stream, share]) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, breakable(stream)),
      h(
        "td",
        { class: "bar-cell", "aria-hidden": "true" },
        h("span", { class: "bar stream", style: { "--share": `${(100 * share).toFixed(2)}%` } }),
      ),
      h("td", { class: "num" }, percentText(share)),
    ),
  );
  return h(
    "div",
    { class: "part" },
    h("h3", { t: title }),
    h("table", { class: "bar-table" }, h("tbody", {}, rows)),
    h("p", { class: "note", t: `${title}.note` }),
  );
}

function drawRemarks(row, notices) {
  const lines = [];
  for (const { column, reason } of row.broken ?? []) {
    lines.push(
      h(
        "li",
        { class: "broken" },
        h("b", {}, column),
        " ",
        h("span", { t: "broken" }),
        " ",
        h("span", { lang: "en" }, reason),
      ),
    );
  }
  if (row.absent?.length) lines.push(h("li", {}, h("span", { t: "absent.columns", tParams: { columns: row.absent } })));
  if (typeof row.unusual === "number" && row.unusual < 0.05) {
    lines.push(
      h("li", { class: "broken", t: "unusual", tParams: { share: percentText(Math.max(row.unusual, 0.0001)) } }),
    );
  }
  for (const notice of notices)
    lines.push(
      h(
        "li",
        { lang: "en" },
        typeof notice === "string" ? notice : (notice.text ?? notice.sentence ?? JSON.stringify(notice)),
      ),
    );
  return lines.length ? h("ul", { class: "remarks" }, lines) : null;
}

function drawBox([left, top, right, bottom], number, size) {
  return [
    svg("rect", { x: left, y: top, width: Math.max(0, right - left), height: Math.max(0, bottom - top) }),
    svg("text", { x: left + size / 4, y: top + size, "font-size": size, "stroke-width": size / 5 }, number),
  ];
}

/** Draw predicted boxes over the picture that the row holds. */
export function drawOverPicture(holder, address) {
  const boxes = JSON.parse(holder.dataset.boxes);
  const image = h("img", { src: address, alt: "" });
  image.onload = () => {
    const { naturalWidth: width, naturalHeight: height } = image;
    const size = Math.max(width, height) / 22;
    const drawn = boxes.flatMap(({ box }, place) => (box?.length === 4 ? drawBox(box, String(place + 1), size) : []));
    holder.append(svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", class: "over" }, ...drawn));
  };
  holder.append(image);
}
