// Tables as text: read (RFC 4180, comma, semicolon or tab) and written.

const DELIMITERS = [",", ";", "\t"];

/** Decode the bytes of a table: UTF-8, or the usual encoding of the language. Returns the text and the encoding. */
export function decodeText(buffer, language) {
  const bytes = new Uint8Array(buffer);
  const mark =
    bytes[0] === 0xff && bytes[1] === 0xfe ? "utf-16le" : bytes[0] === 0xfe && bytes[1] === 0xff ? "utf-16be" : "utf-8";
  try {
    return { text: new TextDecoder(mark, { fatal: true }).decode(bytes), encoding: mark };
  } catch {
    const usual = language === "zh" ? "gb18030" : "windows-1252";
    return { text: new TextDecoder(usual).decode(bytes), encoding: usual };
  }
}

/** Read a table. Returns `{columns, rows}`, rows as lists of texts; throws `{key, params}` of what is wrong. */
export function parseTable(text) {
  const records = parseRecords(text.replace(/^\ufeff/, ""), findDelimiter(text));
  const columns = (records.shift() ?? []).map((name) => name.trim());
  const rows = records.filter((record) => record.length > 1 || record[0] !== "");
  if (!columns.length || (columns.length === 1 && columns[0] === "")) throw { key: "csv.empty" };
  const twice = columns.find((name, place) => columns.indexOf(name) !== place);
  if (twice !== undefined) throw { key: "csv.twice", params: { column: twice } };
  if (!rows.length) throw { key: "csv.no-rows" };
  const uneven = rows.findIndex((row) => row.length !== columns.length);
  if (uneven >= 0)
    throw { key: "csv.uneven", params: { row: uneven + 1, cells: rows[uneven].length, columns: columns.length } };
  return { columns, rows };
}

function findDelimiter(text) {
  const line = text.split(/\r?\n/, 1)[0].replace(/"[^"]*"/g, "");
  const counts = DELIMITERS.map((delimiter) => line.split(delimiter).length);
  return DELIMITERS[counts.indexOf(Math.max(...counts))];
}

function parseRecords(text, delimiter) {
  const records = [];
  let record = [];
  let place = 0;
  while (place < text.length) {
    const [cell, end] = text[place] === '"' ? quotedCell(text, place, delimiter) : plainCell(text, place, delimiter);
    record.push(cell);
    place = end;
    if (text[place] === delimiter) {
      place += 1;
      if (place < text.length) continue;
      record.push(""); // the text ends behind a delimiter
    }
    if (text[place] === "\r" && text[place + 1] === "\n") place += 1;
    place += 1;
    records.push(record);
    record = [];
  }
  return records;
}

function plainCell(text, start, delimiter) {
  let end = start;
  while (end < text.length && text[end] !== delimiter && text[end] !== "\n" && text[end] !== "\r") end += 1;
  return [text.slice(start, end), end];
}

function quotedCell(text, start, delimiter) {
  const pieces = [];
  let from = start + 1;
  for (;;) {
    const end = text.indexOf('"', from);
    if (end < 0) throw { key: "csv.quote", params: { row: text.slice(0, start).split("\n").length } };
    pieces.push(text.slice(from, end));
    if (text[end + 1] !== '"') {
      const [rest, place] = plainCell(text, end + 1, delimiter);
      return [pieces.join('"') + rest, place];
    }
    from = end + 2;
  }
}

/** Write a table as CSV with a byte order mark, which spreadsheets need to see UTF-8. */
export function writeTable(columns, rows) {
  const cell = (value) => {
    const text =
      value === null || value === undefined
        ? ""
        : Array.isArray(value)
          ? value.join("|")
          : typeof value === "object"
            ? JSON.stringify(value)
            : String(value);
    return /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return `\ufeff${[columns, ...rows].map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}
