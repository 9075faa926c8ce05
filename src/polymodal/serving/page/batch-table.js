// A read table as rows for the server, and the answers as columns of a table.
import { typeOfName } from "./array-control.js";
import { readBase64 } from "./dom.js";
import { parseNumber } from "./plain-controls.js";

const MEDIA_KINDS = new Set(["image", "audio", "video", "series", "points", "vector"]);

/** The columns of a table against those of the model. */
export function compareColumns(columns, schema) {
  const known = new Set(schema.inputs.map((input) => input.column));
  const targets = new Set(schema.targets.map((target) => target.name));
  return {
    used: columns.filter((name) => known.has(name)),
    missing: [...known].filter((name) => !columns.includes(name)),
    ignored: columns.filter((name) => !known.has(name) && !targets.has(name)),
    targets: columns.filter((name) => targets.has(name) && !known.has(name)),
    media: schema.inputs
      .filter((input) => MEDIA_KINDS.has(input.kind) && columns.includes(input.column))
      .map((input) => input.column),
  };
}

/** Rows for the server. `files` are the chosen files by name; a cell that names one becomes a function that reads it. */
export function rowsOf({ columns, rows }, schema, files) {
  const inputs = schema.inputs
    .filter((input) => columns.includes(input.column))
    .map((input) => [columns.indexOf(input.column), input]);
  return rows.map((row) =>
    Object.fromEntries(inputs.map(([place, input]) => [input.column, cellOf(row[place], input, files)])),
  );
}

function cellOf(text, input, files) {
  if (text.trim() === "") return null;
  if (MEDIA_KINDS.has(input.kind)) {
    const file = files.get(baseName(text));
    return file ? async () => ({ base64: await readBase64(file), type: file.type || typeOfName(file.name) }) : text;
  }
  if (input.kind === "number") {
    const value = parseNumber(text);
    return Number.isFinite(value) ? value : text;
  }
  if (input.kind === "category") return (input.values ?? []).find((value) => String(value) === text) ?? text;
  return text;
}

/** The names of files that the table's cells name and that were not chosen. */
export function missingFiles({ columns, rows }, media, files) {
  const missing = new Set();
  for (const column of media) {
    const place = columns.indexOf(column);
    for (const row of rows) {
      const text = row[place].trim();
      const isName = text !== "" && !/^data:|^[[{]/.test(text) && text.length < 1000;
      if (isName && !files.has(baseName(text))) missing.add(baseName(text));
    }
  }
  return missing;
}

/** The last part of a path. */
export const baseName = (path) => path.trim().split(/[\\/]/).pop();

/** The columns that answers add to a table, as `[name, answer → cell]`. */
export function answerColumns(schema, answers) {
  const given = answers.filter((answer) => answer?.row).map((answer) => answer.row.predictions);
  const columns = [];
  for (const { name } of schema.targets) {
    const has = (key) =>
      given.some((predictions) => predictions[name]?.[key] !== undefined && predictions[name][key] !== null);
    const add = (column, read) =>
      columns.push([column, (answer) => (answer?.row ? read(answer.row.predictions[name]) : null)]);
    add(`predicted_${name}`, (prediction) => prediction?.value);
    if (has("confidence")) add(`confidence_${name}`, (prediction) => prediction?.confidence);
    if (has("set")) add(`set_${name}`, (prediction) => prediction?.set);
    if (has("interval")) {
      add(`low_${name}`, (prediction) => prediction?.interval?.[0]);
      add(`high_${name}`, (prediction) => prediction?.interval?.[1]);
    }
  }
  return columns;
}

/** What was wrong with a row, as one text; empty where nothing was. */
export function problemOf(answer) {
  if (answer?.problem) return answer.problem;
  return (answer?.row?.broken ?? []).map(({ column, reason }) => `${column}: ${reason}`).join("; ");
}
