// Heat over pictures, films and sounds: orange speaks for the answer, blue and hatched against it.
import { blobOf, h, nextId, svg } from "./dom.js";
import { tellAttribute } from "./messages.js";
import { drawWave, readSound } from "./sound.js";

export const WEAKEST = 0.04; // weaker parts, against the strongest, are not coloured
const MOST_OPAQUE = 0.75;
const SMALL = 160; // smaller pictures are enlarged without smoothing

/** The largest size of some effects, for the scale; at least `least`. */
export const largest = (values, least = 0) => Math.max(1e-12, least, ...values.map(Math.abs));

/** A picture with the heat of its regions over it. */
export function drawPicture(parts, { base64, type }, column, units) {
  const picture = h("img", { src: `data:${type || "image/png"};base64,${base64}`, alt: "" });
  tellAttribute(picture, "label", "heat.image", { name: column });
  picture.onload = () => {
    if (Math.max(picture.naturalWidth, picture.naturalHeight) <= SMALL) picture.classList.add("pixels");
  };
  return withSwitch(picture, drawRegions(parts, units).over);
}

/** A film with the heat of the moment over it. */
export function drawFilm(parts, { base64, type }, column, units) {
  const film = h("video", {
    controls: true,
    muted: true,
    playsinline: true,
    src: URL.createObjectURL(blobOf(base64, type)),
    tLabel: "preview.video",
    tParams: { name: column },
  });
  film.onloadedmetadata = () => {
    if (Math.max(film.videoWidth, film.videoHeight) <= SMALL) film.classList.add("pixels");
  };
  const { over, regions } = drawRegions(parts, units);
  const show = () => {
    for (const { part, shapes } of regions) {
      const isNow = part.seconds[0] <= film.currentTime && film.currentTime < part.seconds[1];
      for (const shape of shapes) shape.toggleAttribute("hidden", !isNow);
    }
    if (!film.paused && film.isConnected) requestAnimationFrame(show);
  };
  for (const event of ["play", "seeked", "loadeddata"]) film.addEventListener(event, show);
  return withSwitch(film, over);
}

function withSwitch(media, over) {
  const box = h("input", {
    type: "checkbox",
    checked: true,
    on: { change: () => over.toggleAttribute("hidden", !box.checked) },
  });
  return [h("div", { class: "frame" }, media, over), h("label", { class: "only" }, box, h("span", { t: "heat.show" }))];
}

/** Regions in shares of a picture; returns the drawing, and the shapes of each part. */
function drawRegions(parts, units) {
  const limit = largest(
    parts.map((part) => part.value),
    units.least,
  );
  const pattern = nextId("hatch");
  const lines = svg(
    "pattern",
    { id: pattern, width: 4, height: 4, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("path", { class: "hatch", d: "M0 0V4" }),
  );
  const strong = parts.filter((part) => part.box?.length === 4 && Math.abs(part.value) >= WEAKEST * limit);
  const regions = strong.map((part) => ({
    part,
    shapes: drawRegion(part, Math.abs(part.value) / limit, pattern, units),
  }));
  const over = svg(
    "svg",
    { class: "over", viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("defs", {}, lines),
    ...regions.flatMap(({ shapes }) => shapes),
  );
  return { over, regions };
}

function drawRegion({ box, value, label }, strength, pattern, units) {
  const [left, top, right, bottom] = box.map((share) => 100 * share);
  const place = { x: left, y: top, width: right - left, height: bottom - top };
  const title = svg("title", {}, `${label}: ${units.full(value)}`);
  const region = svg(
    "rect",
    { ...place, class: value >= 0 ? "for" : "against", "fill-opacity": MOST_OPAQUE * strength },
    title,
  );
  return value < 0
    ? [region, svg("rect", { ...place, fill: `url(#${pattern})`, opacity: strength, "pointer-events": "none" })]
    : [region];
}

/** The spectrum of a sound, on which the server painted the heat. */
export function drawSpectrum(png, column) {
  const image = h("img", { class: "heated", src: `data:image/png;base64,${png}`, alt: "" });
  tellAttribute(image, "label", "heat.image", { name: column });
  return [image, h("p", { class: "note", t: "heat.spectrum" })];
}

/** Add up the frequency bands of the same seconds. */
function addUp(seconds) {
  const sums = new Map();
  for (const [start, end, value] of seconds) {
    const key = `${start} ${end}`;
    sums.set(key, [start, end, value + (sums.get(key)?.[2] ?? 0)]);
  }
  return [...sums.values()];
}

/** A sound with its seconds coloured, and a player. */
export async function drawSeconds(parts, media, column, units) {
  const seconds = addUp(parts);
  const limit = largest(
    seconds.map(([, , value]) => value),
    units.least,
  );
  const blob = media && blobOf(media.base64, media.type);
  const sound = (blob && (await readSound(blob))) || { seconds: Math.max(...seconds.map(([, end]) => end)), peaks: [] };
  const share = (second) => (100 * Math.min(second, sound.seconds)) / sound.seconds;
  const stripes = seconds.map(([start, end, value]) =>
    svg("rect", {
      class: value >= 0 ? "for" : "against",
      x: share(start),
      y: 0,
      width: share(end) - share(start),
      height: 40,
      opacity: (0.7 * Math.abs(value)) / limit,
    }),
  );
  const strongest = [...seconds].sort((a, b) => Math.abs(b[2]) - Math.abs(a[2]))[0];
  const params = strongest && {
    start: strongest[0].toFixed(2),
    end: strongest[1].toFixed(2),
    value: units.full(strongest[2]),
  };
  const player = blob
    ? h("audio", { controls: true, src: URL.createObjectURL(blob), tLabel: "preview.audio", tParams: { name: column } })
    : null;
  return h(
    "div",
    { class: "heard" },
    drawWave(sound, stripes),
    h(
      "p",
      { class: "ends", "aria-hidden": "true" },
      h("span", {}, "0 s"),
      h("span", {}, `${sound.seconds.toFixed(1)} s`),
    ),
    params && limit > units.least ? h("p", { class: "note", t: "heat.seconds", tParams: params }) : null,
    player,
  );
}
