// Controls of pictures, sounds, films and other files: drop, paste, choose, record; a preview of each.
import { blobOf, bytesText, h, mediaOf, readBase64 } from "./dom.js";
import { typeOfName } from "./array-control.js";
import { tell, tellAttribute } from "./messages.js";
import { Recorder, recordingObstacle } from "./recorder.js";
import { drawWave, readSound } from "./sound.js";

const GROWTH = 4 / 3; // base64 against bytes

/**
 * A control of one file. `preview(blob)` returns elements that show it, and may return `{problem}` of what is wrong.
 */
function mediaControl({ input, limits, id, described, changed, say }, { accept, prompt, preview, tools }) {
  let media = null;
  let problem = null;
  let turn = 0;
  const chooser = h("input", {
    type: "file",
    id,
    accept,
    "aria-describedby": described,
    on: { change: () => take(chooser.files[0]) },
  });
  const words = h("p", { t: prompt, "aria-hidden": "true" });
  const zone = h("div", { class: "zone" }, chooser, words);
  const shown = h("div", { class: "preview", hidden: true });
  const facts = h("p", { class: "facts" });
  const remove = h("button", {
    type: "button",
    class: "quiet",
    t: "remove",
    on: {
      click: () => {
        clear();
        changed();
        chooser.focus();
      },
    },
  });
  const element = h(
    "div",
    { class: "media", on: { paste: (event) => take(event.clipboardData?.files[0], event) } },
    h("div", { class: "sources" }, zone, tools?.({ take, clear: () => clear() })),
    shown,
  );

  const sizeProblem = (bytes) => {
    const most = Math.min(input.max_bytes ?? Infinity, (limits.max_body_bytes ?? Infinity) / GROWTH - 1000);
    return bytes > most
      ? { key: "wrong.bytes", params: { size: bytesText(bytes), most: bytesText(Math.floor(most)) } }
      : null;
  };

  async function take(file, event = null) {
    if (!file) return;
    event?.preventDefault();
    changed();
    chooser.value = "";
    const own = ++turn;
    const base64 = await readBase64(file);
    if (own === turn) await show({ base64, type: file.type || typeOfName(file.name ?? "") }, file, file.name ?? "");
  }

  async function show(cell, blob, name) {
    const own = turn;
    media = cell;
    problem = sizeProblem(blob.size);
    release();
    const made = problem ? { elements: [] } : await preview(blob, limits);
    if (own !== turn) return;
    problem ??= made.problem ?? null;
    facts.replaceChildren(
      h("b", name ? {} : { t: "example.file" }, name || ""),
      " ",
      h("span", { class: "note" }, bytesText(blob.size)),
      made.note ?? "",
      " ",
      remove,
    );
    shown.replaceChildren(...made.elements, facts);
    shown.hidden = false;
    element.classList.add("filled");
    tell(words, "drop.another");
    if (problem) say(problem.key, problem.params);
    else say(null);
  }

  const release = () => {
    for (const part of shown.querySelectorAll("[src^='blob:']")) URL.revokeObjectURL(part.src);
  };

  function clear() {
    turn += 1;
    media = null;
    problem = null;
    release();
    shown.replaceChildren();
    shown.hidden = true;
    chooser.value = "";
    element.classList.remove("filled");
    tell(words, prompt);
    say(null);
  }

  return {
    element,
    input: chooser,
    read: () => media && { base64: media.base64, type: media.type },
    write: (cell) => {
      const found = mediaOf(cell);
      turn += 1;
      if (found) show(found, blobOf(found.base64, found.type), "");
    },
    clear,
    check: () => problem,
  };
}

const accepted = (input, all) => (input.media_types?.length ? input.media_types.join(",") : all);

/** A picture. */
export function pictureControl(given) {
  const preview = (blob, limits) =>
    new Promise((resolve) => {
      const image = h("img", { src: URL.createObjectURL(blob), tLabel: "preview.image" });
      image.alt = "";
      tellAttribute(image, "label", "preview.image", { name: given.input.column });
      image.onload = () => {
        const { naturalWidth: width, naturalHeight: height } = image;
        const isTooLarge = limits.max_pixels && width * height > limits.max_pixels;
        if (Math.max(width, height) <= 160) image.classList.add("pixels");
        resolve({
          elements: [image],
          note: h("span", { class: "note" }, ` · ${width} × ${height}`),
          problem: isTooLarge
            ? { key: "wrong.pixels", params: { pixels: width * height, most: limits.max_pixels } }
            : null,
        });
      };
      image.onerror = () => resolve({ elements: [h("p", { class: "note", t: "preview.none" })] });
    });
  return mediaControl(given, { accept: accepted(given.input, "image/*"), prompt: "drop.image", preview });
}

/** A sound, dropped or recorded. */
export function soundControl(given) {
  const preview = async (blob, limits) => {
    const sound = await readSound(blob);
    const player = h("audio", { controls: true, src: URL.createObjectURL(blob), preload: "metadata" });
    tellAttribute(player, "label", "preview.audio", { name: given.input.column });
    if (!sound) return { elements: [player] };
    const isTooLong = limits.max_seconds && sound.seconds > limits.max_seconds;
    return {
      elements: [drawWave(sound), player],
      note: h("span", { class: "note" }, ` · ${sound.seconds.toFixed(1)} s`),
      problem: isTooLong
        ? { key: "wrong.seconds", params: { seconds: Math.round(sound.seconds), most: limits.max_seconds } }
        : null,
    };
  };
  return mediaControl(given, {
    accept: accepted(given.input, "audio/*"),
    prompt: "drop.audio",
    preview,
    tools: (control) => recordingTools(control, given),
  });
}

/** The button that starts and stops a recording, with a meter of its loudness. */
function recordingTools({ take, clear }, { limits, say, changed }) {
  let recorder = null;
  const meter = h("span", { class: "meter", "aria-hidden": "true" });
  const clock = h("span", { class: "clock", "aria-hidden": "true" });
  const button = h(
    "button",
    { type: "button", class: "record", on: { click: () => (recorder ? stop() : start()) } },
    h("span", { class: "dot", "aria-hidden": "true" }),
    h("span", { t: "record" }),
  );
  const label = button.lastChild;

  async function start() {
    const obstacle = recordingObstacle();
    if (obstacle) return say(obstacle);
    changed();
    clear();
    const own = new Recorder();
    recorder = own;
    try {
      await own.start(({ level, seconds }) => {
        meter.style.setProperty("--level", `${Math.min(100, Math.round(160 * level))}%`);
        clock.textContent = `${seconds.toFixed(1)} s`;
        if (limits.max_seconds && seconds >= limits.max_seconds - 0.2) stop();
      });
    } catch {
      recorder = null;
      return say("record.refused");
    }
    tell(label, "record.stop");
    button.classList.add("on");
    say("record.on");
    return undefined;
  }

  async function stop() {
    const own = recorder;
    recorder = null;
    if (!own) return;
    tell(label, "record");
    button.classList.remove("on");
    meter.style.setProperty("--level", "0%");
    clock.textContent = "";
    const wav = await own.stop();
    if (wav) await take(new File([wav], "recording.wav", { type: "audio/wav" }));
    else say("record.empty");
  }

  return h("div", { class: "recording" }, button, meter, clock);
}

/** A film. */
export function filmControl(given) {
  const preview = (blob, limits) =>
    new Promise((resolve) => {
      const film = h("video", {
        controls: true,
        muted: true,
        playsinline: true,
        src: URL.createObjectURL(blob),
        preload: "auto",
      });
      tellAttribute(film, "label", "preview.video", { name: given.input.column });
      film.onloadeddata = () => {
        const isTooLong = limits.max_seconds && film.duration > limits.max_seconds;
        resolve({
          elements: [film],
          note: h(
            "span",
            { class: "note" },
            ` · ${film.videoWidth} × ${film.videoHeight}, ${film.duration.toFixed(1)} s`,
          ),
          problem: isTooLong
            ? { key: "wrong.seconds", params: { seconds: Math.round(film.duration), most: limits.max_seconds } }
            : null,
        });
      };
      film.onerror = () => resolve({ elements: [h("p", { class: "note", t: "preview.none" })] });
    });
  return mediaControl(given, { accept: accepted(given.input, "video/*"), prompt: "drop.video", preview });
}

/** Any other file. */
export function fileControl(given) {
  return mediaControl(given, {
    accept: accepted(given.input, ""),
    prompt: "drop.file",
    preview: async () => ({ elements: [] }),
  });
}
