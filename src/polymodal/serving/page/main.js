// The page: asks for the schema, builds the form and both panels, and connects them to the server.
import { drawAnswer, drawOverPicture } from "./answer.js";
import { ask, RequestError, setApiKey } from "./api.js";
import { buildBatch } from "./batch.js";
import { h, mediaOf } from "./dom.js";
import { drawExplanation } from "./explanation.js";
import { buildFields } from "./fields.js";
import { currentLanguage, setLanguage, tell, translate } from "./messages.js";
import { drawNeighbours } from "./neighbours.js";

const COVERAGES = { low: 80, high: 99, first: 90 };
const NUM_NEIGHBOURS = 6;
const MOST_NAMES = 6;
const byId = (id) => document.getElementById(id);
const page = { schema: null, fields: [], row: null, coverage: COVERAGES.first / 100, turn: 0 };

async function start() {
  showLanguage();
  try {
    page.schema = await ask("schema");
  } catch (error) {
    byId("lead").hidden = true;
    return tellFailure(error, start);
  }
  byId("banner").replaceChildren();
  buildPage(page.schema);
  return undefined;
}

function buildPage(schema) {
  document.title = `${schema.model} · polymodal`;
  byId("model").textContent = schema.model;
  byId("version").title = schema.version ?? "";
  byId("lead").hidden = false;
  const columns = schema.inputs.map((input) => input.column);
  const named =
    columns.length > MOST_NAMES
      ? [
          ...columns.slice(0, MOST_NAMES - 1),
          { key: "more.fields", params: { count: columns.length - MOST_NAMES + 1 } },
        ]
      : columns;
  tell(byId("lead"), "lead", { targets: schema.targets.map((target) => target.name), columns: named });
  buildForm(schema);
  byId("panel-table").replaceChildren(
    buildBatch(schema, { coverage: () => (schema.has?.sets ? page.coverage : undefined), tellFailure }),
  );
  buildTabs();
  showEmptyAnswer();
}

function buildForm(schema) {
  const { fields, element } = buildFields(schema);
  page.fields = fields;
  const example =
    schema.example && Object.keys(schema.example).length
      ? h("button", { type: "button", t: "example", on: { click: fillExample } })
      : null;
  const buttons = h(
    "div",
    { class: "buttons sticky" },
    h("button", { type: "submit", class: "primary", t: "predict" }),
    example,
    h("button", { type: "button", class: "quiet", t: "clear", on: { click: clearForm } }),
  );
  byId("form").replaceChildren(
    h("h2", { id: "form-title", t: "inputs" }),
    h("p", { class: "intro", t: "inputs.note" }),
    element,
    buttons,
  );
  for (const event of ["changed", "change"]) byId("form").addEventListener(event, markOld);
  byId("form").onsubmit = (event) => {
    event.preventDefault();
    predict();
  };
}

/** Tell that the answer is not that of what the form holds now. */
function markOld() {
  if (page.row !== null) byId("old").hidden = false;
}

function fillExample() {
  for (const field of page.fields) field.write(page.schema.example[field.column] ?? null);
  markOld();
  announce("example.filled");
}

function clearForm() {
  for (const field of page.fields) field.clear();
  page.row = null;
  page.turn += 1;
  byId("banner").replaceChildren();
  showEmptyAnswer();
  page.fields[0]?.focus();
}

function showEmptyAnswer() {
  byId("old").hidden = true;
  byId("answer-body").replaceChildren(h("p", { class: "note empty", t: "answer.empty" }));
}

/** Read the form and ask; a field that cannot be sent is told and gets the focus. */
async function predict() {
  const wrong = page.fields.filter((field) => !field.check());
  if (wrong.length) return wrong[0].focus();
  page.row = Object.fromEntries(page.fields.map((field) => [field.column, field.read()]));
  return askForAnswer({ moveFocus: true });
}

async function askForAnswer({ moveFocus }) {
  const { schema, row } = page;
  const turn = (page.turn += 1);
  byId("answer").setAttribute("aria-busy", "true");
  announce("asking");
  const wish = {
    ...(schema.has?.sets ? { coverage: page.coverage } : {}),
    ...(schema.has?.weights ? { weights: true } : {}),
    ...(schema.has?.unusual ? { unusual: true } : {}),
  };
  const began = performance.now();
  try {
    const answer = await ask("predict", { rows: [row], ...wish });
    if (turn !== page.turn) return;
    byId("banner").replaceChildren();
    showAnswer(answer, (performance.now() - began) / 1000);
    if (moveFocus) byId("answer").focus({ preventScroll: window.innerWidth > 900 });
  } catch (error) {
    if (turn !== page.turn) return;
    showEmptyAnswer();
    tellFailure(error, () => askForAnswer({ moveFocus }));
  } finally {
    if (turn === page.turn) byId("answer").removeAttribute("aria-busy");
  }
}

function showAnswer(answer, seconds) {
  const { schema } = page;
  const row = answer.rows[0];
  byId("old").hidden = true;
  const parts = drawAnswer({
    row,
    notices: answer.notices,
    requestId: answer.request_id,
    seconds,
    schema,
    coverage: page.coverage,
    coverageTool: coverageTool(),
  });
  const more = h("div", { class: "more" });
  const tools = h(
    "div",
    { class: "buttons" },
    schema.has?.explain
      ? schema.targets.map((target) =>
          askButton(schema.targets.length > 1 ? "why.ask.of" : "why.ask", { target: target.name }, more, () =>
            explain(target),
          ),
        )
      : null,
    schema.has?.search
      ? askButton("near.ask", {}, more, async () =>
          drawNeighbours((await ask("search", { row: page.row, top: NUM_NEIGHBOURS })).hits, schema),
        )
      : null,
  );
  byId("answer-body").replaceChildren(
    ...parts.slice(0, -1),
    ...(tools.childNodes.length ? [tools, more] : []),
    parts.at(-1),
  );
  const picture = Object.values(page.row)
    .map(mediaOf)
    .find((cell) => cell?.type.startsWith("image/"));
  for (const holder of document.querySelectorAll(".box-picture"))
    if (picture) drawOverPicture(holder, `data:${picture.type};base64,${picture.base64}`);
  const said = schema.targets.map(({ name }) => ({
    key: "said",
    params: { target: name, value: spoken(row.predictions[name]) },
  }));
  announce("answer.said", { answers: said });
}

const explain = async (target) =>
  drawExplanation(await ask("explain", { row: page.row, target: target.name }), page.row, page.schema);

const spoken = (prediction) =>
  Array.isArray(prediction?.value)
    ? prediction.value.map((item) => item?.label ?? item).join(", ")
    : String(prediction?.value ?? "");

/** A button that asks the server for more about the row and puts it into `place`. */
function askButton(key, params, place, make) {
  const holder = h("div");
  place.append(holder);
  const button = h("button", {
    type: "button",
    t: key,
    tParams: params,
    on: {
      click: async () => {
        const turn = page.turn;
        button.disabled = true;
        button.setAttribute("aria-busy", "true");
        announce("asking");
        try {
          const made = await make();
          if (turn !== page.turn) return;
          made.tabIndex = -1;
          holder.replaceChildren(made);
          made.focus({ preventScroll: false });
          announce("shown");
          button.hidden = true;
        } catch (error) {
          tellFailure(error);
        } finally {
          button.disabled = false;
          button.removeAttribute("aria-busy");
        }
      },
    },
  });
  return button;
}

/** The slider of the coverage, which asks again when it is let go. */
function coverageTool() {
  const percent = Math.round(100 * page.coverage);
  const shown = h("output", { for: "coverage" }, `${percent} %`);
  const slider = h("input", {
    type: "range",
    id: "coverage",
    min: COVERAGES.low,
    max: COVERAGES.high,
    step: 1,
    value: percent,
  });
  slider.oninput = () => {
    shown.textContent = `${slider.value} %`;
  };
  slider.onchange = async () => {
    page.coverage = slider.valueAsNumber / 100;
    await askForAnswer({ moveFocus: false });
    byId("coverage")?.focus();
  };
  return h("div", { class: "coverage" }, h("label", { for: "coverage", t: "coverage" }), slider, shown);
}

/** Show an error: near its field where the server names one, else as a banner with what to do. */
function tellFailure(error, again = null) {
  if (!(error instanceof RequestError)) {
    showBanner(h("span", { t: "failed.page" }), null);
    throw error;
  }
  byId("answer").removeAttribute("aria-busy");
  if (error.status === 401) return askForKey(again ?? start);
  const field = page.fields.find((candidate) => candidate.column === error.field);
  if (field && error.status < 500 && error.message && !byId("panel-row").hidden) {
    field.showProblem(error.reason);
    announce("failed.field", { field: field.column });
    return field.focus();
  }
  const id = error.requestId ? h("span", { class: "note", t: "request", tParams: { id: error.requestId } }) : null;
  const retry = again && error.isTemporary ? h("button", { type: "button", t: "again", on: { click: again } }) : null;
  showBanner([failureText(error), " ", id], retry);
  return undefined;
}

function showBanner(content, button) {
  byId("banner").replaceChildren(h("div", { class: "banner bad" }, h("p", {}, content), button));
}

function failureText(error) {
  if (error.status === 0) return h("span", { t: "failed.unreachable" });
  if (error.status === 429 || error.status === 503)
    return h("span", { t: "failed.busy", tParams: { seconds: Math.ceil(error.retryAfter ?? 1) } });
  if (error.status === 413 && !error.message) return h("span", { t: "failed.large" });
  return error.message
    ? h("span", { lang: "en" }, error.message)
    : h("span", { t: "failed", tParams: { status: String(error.status) } });
}

function askForKey(again) {
  const box = h("input", { type: "password", id: "key", autocomplete: "off", required: true });
  const form = h(
    "form",
    {
      class: "banner key",
      on: {
        submit: (event) => {
          event.preventDefault();
          setApiKey(box.value.trim());
          byId("banner").replaceChildren();
          again();
        },
      },
    },
    h("label", { for: "key", t: "key" }),
    box,
    h("button", { type: "submit", class: "primary", t: "key.use" }),
    h("p", { class: "note", t: "key.note" }),
  );
  byId("banner").replaceChildren(form);
  box.focus();
}

function announce(key, params) {
  tell(byId("status"), key, params);
}

function buildTabs() {
  const tabs = [byId("tab-row"), byId("tab-table")];
  const panels = [byId("panel-row"), byId("panel-table")];
  const show = (chosen) =>
    tabs.forEach((tab, place) => {
      tab.setAttribute("aria-selected", place === chosen);
      tab.tabIndex = place === chosen ? 0 : -1;
      panels[place].hidden = place !== chosen;
    });
  tabs.forEach((tab, place) => {
    tab.onclick = () => show(place);
    tab.onkeydown = ({ key }) => {
      if (key !== "ArrowLeft" && key !== "ArrowRight") return;
      show(1 - place);
      tabs[1 - place].focus();
    };
  });
  tabs[0].parentElement.hidden = false;
  show(0);
}

function showLanguage() {
  translate(document);
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", button.dataset.language === currentLanguage());
    button.onclick = () => {
      setLanguage(button.dataset.language);
      showLanguage();
    };
  }
}

document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => event.target.matches?.("input[type=file]") || event.preventDefault());
start();
