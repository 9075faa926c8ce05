// The panel for a whole table: choose, send in chunks with progress, look, download.
import { text } from "./answer.js";
import { answerColumns, baseName, compareColumns, missingFiles, problemOf, rowsOf } from "./batch-table.js";
import { BatchRun } from "./batch-run.js";
import { decodeText, parseTable, writeTable } from "./csv.js";
import { h, nextId, numberText, percentText } from "./dom.js";
import { currentLanguage, tell } from "./messages.js";

const MOST_SHOWN = 100;
const MOST_COLUMNS = 4;
const MOST_NAMES = 5;

/** Build the panel. `tellFailure(error)` shows an error of the server, `coverage()` is the chosen coverage. */
export function buildBatch(schema, { coverage, tellFailure }) {
  let table = null;
  let files = new Map();
  let run = null;
  const chooser = h("input", {
    type: "file",
    id: nextId("csv"),
    accept: ".csv,.tsv,.txt,text/csv",
    tLabel: "csv.choose",
    on: { change: () => choose(chooser.files[0]) },
  });
  const zone = h("div", { class: "zone" }, chooser, h("p", { t: "csv.drop", "aria-hidden": "true" }));
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const facts = h("div", { class: "csv-facts" });
  const mediaChooser = h("input", {
    type: "file",
    id: nextId("files"),
    multiple: true,
    tLabel: "csv.files",
    on: { change: () => addFiles(mediaChooser.files) },
  });
  const mediaZone = h(
    "div",
    { class: "zone small", hidden: true },
    mediaChooser,
    h("p", { t: "csv.files", "aria-hidden": "true" }),
  );
  const bar = h("progress", { max: 1, value: 0, tLabel: "csv.progress" });
  const status = h("p", { class: "note", role: "status", "aria-live": "polite" });
  const start = h("button", { type: "button", class: "primary", t: "csv.start", disabled: true, on: { click: begin } });
  const stop = h("button", { type: "button", t: "csv.stop", hidden: true, on: { click: () => run?.stop() } });
  const download = h("button", { type: "button", t: "csv.download", hidden: true, on: { click: save } });
  const results = h("div", { class: "results" });

  function showProblem(found) {
    problem.hidden = found === null;
    if (found) tell(problem, found.key, found.params);
  }

  async function choose(file) {
    if (!file) return;
    reset();
    const { text: content, encoding } = decodeText(await file.arrayBuffer(), currentLanguage());
    try {
      table = { ...parseTable(content), name: file.name };
    } catch (error) {
      if (!error.key) throw error;
      return showProblem(error);
    }
    showFacts(encoding);
    start.disabled = table.compared.used.length === 0;
    if (start.disabled)
      showProblem({
        key: "csv.no-columns",
        params: { columns: schema.inputs.slice(0, MOST_NAMES).map((input) => input.column) },
      });
    return undefined;
  }

  function reset() {
    table = null;
    run = null;
    showProblem(null);
    facts.replaceChildren();
    results.replaceChildren();
    bar.hidden = true;
    download.hidden = true;
    start.disabled = true;
    tell(start, "csv.start");
    status.textContent = "";
    delete status.dataset.t;
  }

  function showFacts(encoding) {
    const compared = compareColumns(table.columns, schema);
    table.compared = compared;
    mediaZone.hidden = compared.media.length === 0;
    const lines = [
      h(
        "p",
        {},
        h("b", {}, table.name),
        " ",
        h("span", { t: "csv.size", tParams: { count: table.rows.length, columns: table.columns.length } }),
      ),
    ];
    const names = (list) =>
      list.length > MOST_NAMES
        ? [...list.slice(0, MOST_NAMES), { key: "more", params: { count: list.length - MOST_NAMES } }]
        : list;
    if (compared.missing.length)
      lines.push(h("p", { class: "note", t: "csv.missing", tParams: { columns: names(compared.missing) } }));
    if (compared.ignored.length)
      lines.push(h("p", { class: "note", t: "csv.ignored", tParams: { columns: names(compared.ignored) } }));
    if (compared.targets.length)
      lines.push(h("p", { class: "note", t: "csv.targets", tParams: { columns: names(compared.targets) } }));
    if (encoding !== "utf-8") lines.push(h("p", { class: "note", t: "csv.encoding", tParams: { encoding } }));
    const missing = missingFiles(table, compared.media, files);
    if (missing.size)
      lines.push(
        h("p", {
          class: "note strong",
          t: "csv.files-missing",
          tParams: { count: missing.size, names: names([...missing]) },
        }),
      );
    facts.replaceChildren(...lines);
    table.encoding = encoding;
  }

  function addFiles(chosen) {
    for (const file of chosen) files.set(baseName(file.name), file);
    if (table) showFacts(table.encoding);
  }

  async function begin() {
    run ??= new BatchRun(rowsOf(table, schema, files), { coverage: coverage(), limits: schema.limits });
    if (run.next >= run.rows.length)
      run = new BatchRun(rowsOf(table, schema, files), { coverage: coverage(), limits: schema.limits });
    [start.hidden, stop.hidden, bar.hidden, download.hidden] = [true, false, false, true];
    showProblem(null);
    stop.focus();
    const progress = (done, all) => {
      bar.value = done / all;
      tell(status, "csv.done", { done, count: all });
    };
    progress(run.next, run.rows.length);
    try {
      await run.run({
        progress,
        waiting: (seconds) => seconds && tell(status, "csv.waiting", { seconds: Math.ceil(seconds) }),
      });
      finish("csv.again");
    } catch (error) {
      if (error.name !== "AbortError") tellFailure(error);
      tell(status, "csv.stopped", { done: run.next, count: run.rows.length });
      finish("csv.continue");
    }
  }

  function finish(key) {
    [start.hidden, stop.hidden, download.hidden] = [false, true, run.next === 0];
    tell(start, key);
    (download.hidden ? start : download).focus();
    const failed = run.answers.filter((answer) => answer?.problem).length;
    if (key === "csv.again") tell(status, failed ? "csv.finished-failed" : "csv.finished", { count: run.next, failed });
    results.replaceChildren(...drawResults(table, schema, run, failed));
  }

  function save() {
    const added = answerColumns(schema, run.answers);
    const rows = table.rows.map((row, place) => [
      ...row,
      ...added.map(([, read]) => read(run.answers[place])),
      problemOf(run.answers[place]),
    ]);
    const content = writeTable([...table.columns, ...added.map(([name]) => name), "problem"], rows);
    const link = h("a", {
      href: URL.createObjectURL(new Blob([content], { type: "text/csv" })),
      download: table.name.replace(/(\.[a-z]+)?$/i, "-predicted.csv"),
    });
    link.click();
    URL.revokeObjectURL(link.href);
  }

  const buttons = h("div", { class: "buttons" }, start, stop, download);
  bar.hidden = true;
  return h(
    "section",
    { class: "card batch", "aria-labelledby": "batch-title" },
    h("h2", { id: "batch-title", t: "csv.title" }),
    h("p", { class: "intro", t: "csv.intro" }),
    zone,
    problem,
    facts,
    mediaZone,
    buttons,
    bar,
    status,
    results,
  );
}

function drawResults(table, schema, run, failed) {
  const added = answerColumns(schema, run.answers);
  const shown = table.columns.filter((name) => table.compared.used.includes(name)).slice(0, MOST_COLUMNS);
  const onlyFailed = h("input", { type: "checkbox", on: { change: () => fillBody() } });
  const body = h("tbody");
  const isProblem = (place) => problemOf(run.answers[place]) !== "";
  const numProblems = run.answers.filter((_, place) => isProblem(place)).length;
  function fillBody() {
    const places = table.rows
      .map((_, place) => place)
      .filter((place) => run.answers[place] && (!onlyFailed.checked || isProblem(place)));
    body.replaceChildren(
      ...places.slice(0, MOST_SHOWN).map((place) => drawRow(table, shown, added, run, place, numProblems > 0)),
    );
  }
  fillBody();
  const heads = [
    h("th", { scope: "col", class: "num", t: "csv.row" }),
    ...added.map(([name]) => h("th", { scope: "col" }, name)),
    failed || numProblems ? h("th", { scope: "col", t: "csv.problem" }) : "",
    ...shown.map((name) => h("th", { scope: "col" }, name)),
  ];
  return [
    numProblems
      ? h("label", { class: "only" }, onlyFailed, h("span", { t: "csv.only", tParams: { count: numProblems } }))
      : "",
    h(
      "div",
      { class: "scroll tall", tabindex: 0, role: "region", tLabel: "csv.answers" },
      h("table", { class: failed ? "has-problems" : null }, h("thead", {}, h("tr", {}, heads)), body),
    ),
    table.rows.length > MOST_SHOWN ? h("p", { class: "note", t: "csv.shown", tParams: { count: MOST_SHOWN } }) : "",
    ...[...run.notices].slice(0, MOST_NAMES).map((notice) => h("p", { class: "note", lang: "en" }, notice)),
  ];
}

function drawRow(table, shown, added, run, place, hasProblems) {
  const answer = run.answers[place];
  const cells = shown.map((name) => h("td", { class: "cell" }, table.rows[place][table.columns.indexOf(name)]));
  const answers = added.map(([name, read]) => {
    const kind = name.slice(0, name.indexOf("_")); // predicted, confidence, set, low, high
    return h("td", { class: `added ${kind}` }, cellText(read(answer), kind));
  });
  return h(
    "tr",
    { class: answer.problem ? "failed" : null },
    h("th", { scope: "row", class: "num" }, String(place + 1)),
    answers,
    hasProblems ? h("td", { class: "why", lang: "en" }, problemOf(answer)) : null,
    cells,
  );
}

function cellText(value, kind) {
  if (Array.isArray(value)) return value.map(text).join(", ");
  if (typeof value !== "number") return text(value);
  return kind === "confidence" ? percentText(value) : numberText(value);
}
