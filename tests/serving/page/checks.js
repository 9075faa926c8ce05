// What a page that everybody can read has none of, as lists of HTML.

const isShown = (part) => part.checkVisibility({ checkVisibilityCSS: true });

/** Controls and regions that a screen reader has no name for. */
function unnamed() {
  const parts = document.querySelectorAll(
    "input, textarea, button, select, audio, video, progress, [role=group], [role=region]",
  );
  const labelledBy = (part) =>
    (part.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "");
  const names = (part) => [
    part.getAttribute("aria-label"),
    part.tagName === "BUTTON" ? part.textContent : "",
    ...labelledBy(part),
    ...[...(part.labels ?? [])].map((label) => label.textContent),
  ];
  return [...parts]
    .filter((part) => isShown(part) && !names(part).some((name) => name?.trim()))
    .map((part) => part.outerHTML.slice(0, 120));
}

/** Texts whose contrast is below WCAG AA: 4.5, or 3 where they are large. */
function faint() {
  return [...document.querySelectorAll("body *")]
    .filter(hasOwnText)
    .filter((part) => contrast(part) < (isLarge(part) ? 3 : 4.5))
    .map((part) => `${part.outerHTML.slice(0, 100)}: ${contrast(part).toFixed(2)}`);
}

function hasOwnText(part) {
  const hasText = [...part.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
  return hasText && isShown(part) && !part.closest(".hidden, .is-absent, :disabled, svg, .skip");
}

function isLarge(part) {
  const { fontSize, fontWeight } = getComputedStyle(part);
  return parseFloat(fontSize) >= 24 || (parseFloat(fontSize) >= 18.66 && fontWeight >= 700);
}

function contrast(part) {
  const [front, back] = [luminance(parse(getComputedStyle(part).color).rgb), luminance(behind(part))];
  return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
}

function parse(color) {
  const [red, green, blue, opacity = 1] = color.match(/[\d.]+/g).map(Number);
  const most = color.startsWith("color(") ? 1 : 255;
  return { rgb: [red / most, green / most, blue / most], opacity };
}

function luminance(rgb) {
  const [red, green, blue] = rgb.map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** The colour behind an element: the backgrounds of all around it, one over the other. */
function behind(part) {
  const layers = [];
  for (let around = part; around; around = around.parentElement)
    layers.unshift(parse(getComputedStyle(around).backgroundColor));
  return layers.reduce(
    (under, { rgb, opacity }) => under.map((value, at) => opacity * rgb[at] + (1 - opacity) * value),
    [1, 1, 1],
  );
}
