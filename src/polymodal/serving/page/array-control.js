// Controls of series, points and vectors: numbers that are pasted, or a file.
import { blobOf, bytesText, h, mediaOf, nextId, readBase64, svg } from "./dom.js";

const MOST_DRAWN = 600;

/** Read pasted numbers: JSON, or a line a step with its numbers between commas, semicolons or white space. */
export function parseNumbers(text) {
  const plain = text.trim();
  if (plain === "") return null;
  if (/^[[{]/.test(plain)) {
    try {
      return JSON.parse(plain);
    } catch {
      return undefined;
    }
  }
  const rows = plain.split(/\r?\n/).map((line) =>
    line
      .trim()
      .split(/[\s,;]+/)
      .map(Number),
  );
  if (rows.some((row) => row.some(Number.isNaN))) return undefined;
  return rows.length === 1 ? rows[0] : rows.every((row) => row.length === 1) ? rows.flat() : rows;
}

/** Numbers that are pasted or come from a file; series are drawn. */
export function arrayControl({ input, limits, id, described, changed, say }) {
  let file = null; // {base64, type, name}
  const drawing = h("div", { class: "drawing" });
  const box = h("textarea", {
    id,
    rows: 3,
    class: "code",
    spellcheck: "false",
    tPlaceholder: `paste.${input.kind}`,
    "aria-describedby": described,
    on: {
      input: () => {
        changed();
        file = null;
        show();
      },
    },
  });
  const chooser = h("input", {
    type: "file",
    id: nextId("file"),
    class: "hidden",
    tLabel: "choose.file",
    tabindex: -1,
    on: { change: () => take(chooser.files[0]) },
  });
  const button = h("button", {
    type: "button",
    class: "quiet",
    t: "choose.file",
    on: { click: () => chooser.click() },
  });

  async function take(chosen) {
    if (!chosen) return;
    changed();
    if (limits.max_body_bytes && chosen.size * 1.4 > limits.max_body_bytes) {
      say("wrong.bytes", { size: bytesText(chosen.size), most: bytesText(limits.max_body_bytes / 1.4) });
      return;
    }
    file = { base64: await readBase64(chosen), type: chosen.type || typeOfName(chosen.name), name: chosen.name };
    box.value = "";
    show();
    say("file.chosen", { name: chosen.name, size: bytesText(chosen.size) });
    chooser.value = "";
  }

  function show() {
    const values = file ? null : parseNumbers(box.value);
    drawing.replaceChildren();
    if (values === null || values === undefined) return say(null);
    const steps = Array.isArray(values) ? values.length : (Object.values(values)[0]?.length ?? 0);
    const channels = Array.isArray(values?.[0]) ? values[0].length : 1;
    say(input.kind === "series" ? "series.size" : "array.size", { count: steps, channels });
    if (input.kind !== "points" && Array.isArray(values)) drawing.append(drawLines(values));
    return undefined;
  }

  return {
    element: h(
      "div",
      {
        class: "array",
        on: {
          dragover: (event) => event.preventDefault(),
          drop: (event) => {
            event.preventDefault();
            take(event.dataTransfer.files[0]);
          },
        },
      },
      box,
      drawing,
      button,
      chooser,
    ),
    input: box,
    read: () => (file ? { base64: file.base64, type: file.type } : (parseNumbers(box.value) ?? null)),
    write: (cell) => {
      const media = mediaOf(cell);
      file = media;
      box.value = media ? "" : typeof cell === "string" ? cell : JSON.stringify(cell);
      show();
      if (media)
        say("file.chosen", { name: { key: "example.file" }, size: bytesText(blobOf(media.base64, media.type).size) });
    },
    clear: () => {
      file = null;
      box.value = "";
      show();
    },
    check: () => (!file && parseNumbers(box.value) === undefined ? { key: "wrong.numbers" } : null),
  };
}

/** The media type of a file that the browser has no type for, by its ending. */
export function typeOfName(name) {
  const ending = /\.([a-z0-9]+)$/i.exec(name)?.[1].toLowerCase();
  return ending ? `application/x-${ending}` : "application/octet-stream";
}

/** Draw a series, a line a channel. */
export function drawLines(values) {
  const rows = values.map((row) => (Array.isArray(row) ? row : [row]));
  const step = Math.max(1, Math.ceil(rows.length / MOST_DRAWN));
  const kept = rows.filter((_, place) => place % step === 0);
  const flat = kept.flat().filter(Number.isFinite);
  const [low, high] = [Math.min(...flat), Math.max(...flat)];
  const y = (value) => 38 - (36 * (value - low)) / (high - low || 1);
  const lines = kept[0].slice(0, 8).map((_, channel) => {
    const points = kept.map((row, place) =>
      Number.isFinite(row[channel]) ? `${place},${y(row[channel]).toFixed(2)}` : null,
    );
    return svg("polyline", { class: `line c${channel + 1}`, points: points.filter(Boolean).join(" ") });
  });
  return svg(
    "svg",
    {
      class: "spark",
      viewBox: `0 0 ${Math.max(1, kept.length - 1)} 40`,
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    },
    ...lines,
  );
}
