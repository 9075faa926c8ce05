// Controls of numbers, categories, texts, dates and places.
import { h, nextId, numberText } from "./dom.js";

const MOST_SUGGESTED = 500;
const NEARLY_ZERO = 1e-5; // of a range

function rangeOf({ range, unit }) {
  if (!Array.isArray(range)) return null;
  const [low, high] = range.map((end) => numberText(Math.abs(end) < NEARLY_ZERO * (range[1] - range[0]) ? 0 : end));
  return { key: unit ? "range.unit" : "range", params: { low, high, unit } };
}

/** Read a number as people write it; NaN where the text is none. */
export function parseNumber(text) {
  const plain = text
    .trim()
    .replace(/[\s\u00a0_]/g, "")
    .replace(/^([+-]?)−/, "$1-");
  const commas = /^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$/.test(plain)
    ? plain.replaceAll(",", "")
    : plain.replace(/^([+-]?\d*),(\d+)$/, "$1.$2");
  return commas === "" ? Number.NaN : Number(commas);
}

/** A number: any is sent, one out of the range of the training rows gets a hint. */
export function numberControl({ input, id, described, changed, say }) {
  const range = rangeOf(input);
  const box = h("input", {
    type: "text",
    inputmode: "decimal",
    id,
    autocomplete: "off",
    "aria-describedby": described,
    placeholder: input.example === undefined || input.example === null ? null : numberText(Number(input.example)),
    on: {
      input: () => {
        changed();
        hint();
      },
    },
  });
  const hint = () => {
    const value = parseNumber(box.value);
    const isOutside = range && Number.isFinite(value) && (value < input.range[0] || value > input.range[1]);
    box.closest(".field")?.classList.toggle("unusual", Boolean(isOutside));
    if (isOutside) say("range.outside", range.params);
    else say(range?.key ?? null, range?.params);
  };
  queueMicrotask(hint);
  const unit = input.unit ? h("span", { class: "unit", "aria-hidden": "true" }, input.unit) : null;
  return {
    element: h("div", { class: "with-unit" }, box, unit),
    input: box,
    read: () => (box.value.trim() === "" ? null : parseNumber(box.value)),
    write: (cell) => {
      box.value = String(cell);
      hint();
    },
    clear: () => {
      box.value = "";
      queueMicrotask(hint);
    },
    check: () => (box.value.trim() !== "" && !Number.isFinite(parseNumber(box.value)) ? { key: "wrong.number" } : null),
  };
}

/** A category: the known values are suggested, any text is allowed. */
export function valueControl({ input, id, described, changed, say }) {
  const values = (input.values ?? []).map(String);
  const isWhole = values.length > 0 && (input.num_values ?? values.length) <= values.length;
  const listId = nextId("values");
  const box = h("input", {
    type: "text",
    id,
    autocomplete: "off",
    "aria-describedby": described,
    list: values.length ? listId : null,
    placeholder: values.length ? values.slice(0, 3).join(", ") + (values.length > 3 ? ", …" : "") : null,
    on: {
      input: () => {
        changed();
        hint();
      },
    },
  });
  const hint = () => {
    const value = box.value.trim();
    const isNew = isWhole && value !== "" && !values.includes(value);
    box.closest(".field")?.classList.toggle("unusual", isNew);
    if (isNew) say("value.new");
    else say(null);
  };
  const options = h(
    "datalist",
    { id: listId },
    values.slice(0, MOST_SUGGESTED).map((value) => h("option", { value })),
  );
  return {
    element: h("div", { class: "with-list" }, box, options),
    input: box,
    read: () => (box.value.trim() === "" ? null : typedValue(box.value.trim(), input.values)),
    write: (cell) => {
      box.value = String(cell);
      hint();
    },
    clear: () => {
      box.value = "";
      hint();
    },
    check: () => null,
  };
}

/** The known value that is written so, which may be a number or a boolean; the text itself where none is. */
const typedValue = (text, values) => (values ?? []).find((value) => String(value) === text) ?? text;

/** A text, in a box that grows. */
export function textControl({ id, described, changed, input }) {
  const grow = () => {
    box.style.height = "auto";
    box.style.height = `${Math.min(box.scrollHeight + 2, 320)}px`;
  };
  const box = h("textarea", {
    id,
    rows: 2,
    "aria-describedby": described,
    dir: "auto",
    placeholder:
      typeof input.example === "string" ? `${input.example.slice(0, 90)}${input.example.length > 90 ? "…" : ""}` : null,
    on: {
      input: () => {
        changed();
        grow();
      },
    },
  });
  return {
    element: h("div", {}, box),
    input: box,
    read: () => (box.value.trim() === "" ? null : box.value),
    write: (cell) => {
      box.value = typeof cell === "string" ? cell : JSON.stringify(cell);
      grow();
    },
    clear: () => {
      box.value = "";
      grow();
    },
    check: () => null,
  };
}

/** A date or a moment: a picker where the browser has one; years before 1000 and the like go as text. */
export function dateControl({ input, id, described, changed }) {
  const hasTime = /\d[T ]\d\d:/.test(String(input.example ?? input.range?.[0] ?? ""));
  const clean = (text) =>
    String(text)
      .trim()
      .replace(" ", "T")
      .slice(0, hasTime ? 19 : 10);
  const box = h("input", {
    type: hasTime ? "datetime-local" : "date",
    id,
    step: hasTime ? 1 : null,
    "aria-describedby": described,
    on: { input: changed },
  });
  return {
    element: h("div", {}, box),
    input: box,
    read: () => (box.value === "" ? null : box.value),
    write: (cell) => {
      box.value = clean(cell);
    },
    clear: () => {
      box.value = "";
    },
    check: () => (box.validity.badInput ? { key: "wrong.date" } : null),
  };
}

/** A place: latitude and longitude in degrees, or where the reader is. */
export function geoControl({ id, described, changed, say }) {
  const box = (name, limit, ownId) =>
    h("input", {
      type: "text",
      inputmode: "decimal",
      id: ownId,
      autocomplete: "off",
      tLabel: name,
      "aria-describedby": described,
      "data-limit": limit,
      on: { input: changed },
      tPlaceholder: name,
    });
  const latitude = box("latitude", 90, id);
  const longitude = box("longitude", 180, nextId("longitude"));
  const locate = () =>
    navigator.geolocation.getCurrentPosition(
      ({ coords }) => {
        write([coords.latitude.toFixed(5), coords.longitude.toFixed(5)]);
        changed();
      },
      () => say("place.refused"),
    );
  const write = (cell) => {
    const pair = Array.isArray(cell) ? cell : (String(cell).match(/[+-]?\d+(?:\.\d*)?/g) ?? []);
    [latitude.value, longitude.value] = [String(pair[0] ?? ""), String(pair[1] ?? "")];
  };
  const isEmpty = () => latitude.value.trim() === "" && longitude.value.trim() === "";
  const isWrong = (part) => !(Math.abs(parseNumber(part.value)) <= Number(part.dataset.limit));
  const button =
    navigator.geolocation && isSecureContext
      ? h("button", { type: "button", class: "quiet", t: "place.here", on: { click: locate } })
      : null;
  return {
    element: h("div", { class: "place" }, latitude, longitude, button),
    input: latitude,
    read: () => (isEmpty() ? null : [parseNumber(latitude.value), parseNumber(longitude.value)]),
    write,
    clear: () => {
      latitude.value = "";
      longitude.value = "";
    },
    check: () => (!isEmpty() && (isWrong(latitude) || isWrong(longitude)) ? { key: "wrong.place" } : null),
  };
}
