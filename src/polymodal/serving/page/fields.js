// The form: one field for each column, made from the schema.
import { breakable, h, nextId } from "./dom.js";
import { tell } from "./messages.js";
import { dateControl, geoControl, numberControl, textControl, valueControl } from "./plain-controls.js";
import { arrayControl } from "./array-control.js";
import { fileControl, filmControl, pictureControl, soundControl } from "./media-controls.js";

const CONTROLS = {
  number: numberControl,
  category: valueControl,
  datetime: dateControl,
  date: dateControl,
  text: textControl,
  geo: geoControl,
  image: pictureControl,
  audio: soundControl,
  video: filmControl,
  series: arrayControl,
  points: arrayControl,
  vector: arrayControl,
};
const COMPACT_KINDS = new Set(["number", "category", "datetime", "date"]);
const MOST_OPEN = 12; // more plain columns than this stand in a fold, close together

/**
 * A field: a name, a control, "I don't have this", and the sentence of what is wrong.
 *
 * A control has `element`, `input` (what a label names), `read()` → cell or null where it is empty, `write(cell)`,
 * `clear()`, and `check()` → null or a message `{key, params}` of what cannot be sent.
 */
export class Field {
  constructor(input, limits, compact) {
    this.column = input.column;
    this.input = input;
    const id = nextId("field");
    this.problem = h("p", { class: "problem", id: `${id}-problem`, hidden: true });
    this.hint = h("p", { class: "hint", id: `${id}-hint`, hidden: true });
    const described = `${id}-hint ${id}-problem`;
    const changed = () => {
      this.showProblem(null);
      this.element.dispatchEvent(new Event("changed", { bubbles: true }));
    };
    const build = Object.hasOwn(CONTROLS, input.kind)
      ? CONTROLS[input.kind]
      : input.media_types
        ? fileControl
        : textControl;
    this.control = build({ input, limits, id, described, changed, say: (key, params) => this.say(key, params) });
    this.absent = h("input", {
      type: "checkbox",
      id: `${id}-absent`,
      on: { change: () => this.setAbsent(this.absent.checked) },
    });
    this.element = this.build(id, compact);
  }

  build(id, compact) {
    const head = h(
      "div",
      { class: "field-head" },
      h(
        "label",
        { class: "name", for: this.control.input.id, id: `${id}-name`, title: this.column },
        breakable(this.column),
      ),
      h("span", { class: "kind", t: `kind.${this.input.kind}` }),
      h(
        "label",
        { class: "absent" },
        this.absent,
        h("span", { t: "absent" }),
        h("span", { class: "hidden" }, `: ${this.column}`),
      ),
    );
    const classes = compact ? "field compact" : "field";
    return h(
      "div",
      { class: classes, role: "group", "aria-labelledby": `${id}-name`, "data-column": this.column },
      head,
      this.control.element,
      this.hint,
      this.problem,
    );
  }

  /** Show a hint below the control, none for null. */
  say(key, params) {
    this.hint.hidden = key === null;
    if (key) tell(this.hint, key, params);
  }

  /** Show what is wrong: a message `{key, params}`, a sentence of the server, or null for nothing. */
  showProblem(problem) {
    this.problem.hidden = problem === null;
    this.element.classList.toggle("wrong", problem !== null);
    this.control.input.setAttribute("aria-invalid", problem !== null);
    if (problem?.key) tell(this.problem, problem.key, problem.params);
    else if (problem !== null) {
      delete this.problem.dataset.t;
      this.problem.textContent = problem;
      this.problem.lang = "en";
    }
  }

  setAbsent(absent) {
    this.absent.checked = absent;
    this.element.classList.toggle("is-absent", absent);
    for (const part of this.control.element.querySelectorAll("input, textarea, button, select")) part.disabled = absent;
    if ("disabled" in this.control.element) this.control.element.disabled = absent;
    this.showProblem(null);
  }

  read() {
    return this.absent.checked ? null : this.control.read();
  }

  write(cell) {
    const isAbsent = cell === null || cell === undefined;
    this.setAbsent(isAbsent);
    if (isAbsent) this.control.clear();
    else this.control.write(cell);
  }

  clear() {
    this.control.clear();
    this.setAbsent(false);
    this.say(null);
  }

  /** Check the control, show what is wrong and return whether it can be sent. */
  check() {
    const problem = this.absent.checked ? null : this.control.check();
    this.showProblem(problem);
    return problem === null;
  }

  focus() {
    this.element.closest("details")?.setAttribute("open", "");
    this.control.input.focus();
  }
}

/** Make the fields of a schema; `element` holds all of them. */
export function buildFields(schema) {
  const limits = schema.limits ?? {};
  const plain = schema.inputs.filter((input) => COMPACT_KINDS.has(input.kind));
  const isLong = plain.length > MOST_OPEN;
  const fields = schema.inputs.map((input) => new Field(input, limits, COMPACT_KINDS.has(input.kind)));
  const open = h("div", { class: "fields" });
  for (const field of fields) if (!isLong || !COMPACT_KINDS.has(field.input.kind)) open.append(field.element);
  if (isLong) open.append(fold(fields.filter((field) => COMPACT_KINDS.has(field.input.kind))));
  return { fields, element: open };
}

function fold(fields) {
  const first = fields.slice(0, 3).map((field) => field.column);
  const everyAbsent = h("button", {
    type: "button",
    class: "quiet",
    t: "absent.all",
    on: { click: () => fields.forEach((field) => field.setAbsent(true)) },
  });
  return h(
    "details",
    { class: "fold" },
    h(
      "summary",
      {},
      h("b", { t: "fold", tParams: { count: fields.length } }),
      h("span", { class: "note" }, ` ${first.join(", ")} …`),
    ),
    h("div", { class: "fold-tools" }, h("p", { class: "note", t: "fold.note" }), everyAbsent),
    h(
      "div",
      { class: "grid" },
      fields.map((field) => field.element),
    ),
  );
}
