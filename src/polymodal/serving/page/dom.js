// Building elements, files as base64, and numbers as text.
import { tell, tellAttribute } from "./messages.js";

let lastId = 0;

/** A fresh id for an element. */
export const nextId = (stem) => `${stem}-${++lastId}`;

/**
 * Make an element. `t` (and `tParams`) is a translated text, `tLabel`, `tTitle` and `tPlaceholder` translated attributes;
 * `on` maps events to functions, `style` maps custom properties to values; all else are attributes.
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  fill(element, props);
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** The same for SVG. */
export function svg(tag, props = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  fill(element, props);
  element.append(...children);
  return element;
}

function fill(element, { t, tParams, tLabel, tTitle, tPlaceholder, on, style, ...attributes }) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  for (const [name, value] of Object.entries(style ?? {})) element.style.setProperty(name, value);
  for (const [event, listener] of Object.entries(on ?? {})) element.addEventListener(event, listener);
  if (t) tell(element, t, tParams);
  if (tLabel) tellAttribute(element, "label", tLabel, tParams);
  if (tTitle) tellAttribute(element, "title", tTitle, tParams);
  if (tPlaceholder) tellAttribute(element, "placeholder", tPlaceholder, tParams);
}

/** A name whose lines may break behind underscores, dots and slashes. */
export function breakable(name) {
  const pieces = String(name).split(/(?<=[_/]|[.-](?=\p{L}))/u);
  return pieces.flatMap((piece, place) => (place ? [document.createElement("wbr"), piece] : [piece]));
}

/** Read a blob as base64, without the head of a `data:` address. */
export function readBase64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).replace(/^[^,]*,/, ""));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** Make a blob of base64. */
export function blobOf(base64, type) {
  const text = atob(base64);
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type });
}

/** A media cell `{base64, type}` of a cell that is one, as an object or a `data:` address; null of all else. */
export function mediaOf(cell) {
  if (cell && typeof cell === "object" && typeof cell.base64 === "string") return { type: "", ...cell };
  const match = typeof cell === "string" ? /^data:([^;,]*)[^,]*;base64,(.*)$/s.exec(cell) : null;
  return match ? { type: match[1], base64: match[2] } : null;
}

/** A number for reading: at most four significant digits, whole numbers in full. */
export function numberText(value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en", { useGrouping: Math.abs(value) >= 10000 });
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toPrecision(3);
  return value.toLocaleString("en", { maximumSignificantDigits: size >= 1000 ? 6 : 4, useGrouping: size >= 10000 });
}

/** A share as a percentage; never 100 % where it is not. */
export function percentText(share) {
  if (share >= 0.9995 && share < 1) return "> 99.9 %";
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  return `${(100 * share).toFixed(share === 1 || share === 0 ? 0 : 1)} %`;
}

/** A number of bytes for reading. */
export function bytesText(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
