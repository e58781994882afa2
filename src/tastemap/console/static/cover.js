// A cover for an item without a picture: contour lines of a map, coloured by its genres.

import { h, svg } from "./dom.js";

function hash(text) {
  let value = 2166136261;
  for (const char of text) value = Math.imul(value ^ char.codePointAt(0), 16777619);
  // FNV's last bits vary more than its first; this spreads them.
  value = Math.imul(value ^ (value >>> 15), 2246822507);
  return (value ^ (value >>> 13)) >>> 0;
}

function* numbers(seed) {
  for (let state = seed || 1; ; ) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    yield (state >>> 0) / 4294967296;
  }
}

/** The title as people say it: "Matrix, The (1999)" is "The Matrix", with the year apart. */
export function titleOf({ title, year, item }) {
  let text = title || `Item ${item}`;
  if (year && text.endsWith(`(${year})`)) text = text.slice(0, -`(${year})`.length).trim();
  const swapped = /^(.*), (The|A|An|Le|La|Les|Il|Das|Der|Die|El|L')$/.exec(text);
  if (!swapped) return text;
  return swapped[2].endsWith("'") ? swapped[2] + swapped[1] : `${swapped[2]} ${swapped[1]}`;
}

function initials(item) {
  if (!item.title) return Array.from(item.item).slice(0, 4).join("");
  const words = titleOf(item).replace(/^(The|A|An) /, "").match(/[\p{L}\p{N}]+/gu) ?? [item.item];
  return words.slice(0, 2).map((word) => Array.from(word)[0].toUpperCase()).join("");
}

function contour(x, y, radius, waves) {
  const points = [];
  for (let step = 0; step < 48; step += 1) {
    const angle = (step / 48) * 2 * Math.PI;
    let r = radius;
    for (const { n, size, phase } of waves) r += radius * size * Math.sin(n * angle + phase);
    points.push(`${(x + r * Math.cos(angle)).toFixed(1)} ${(y + r * Math.sin(angle)).toFixed(1)}`);
  }
  return `M${points.join("L")}Z`;
}

/** A decorative cover; the title stands beside it, so it is hidden from screen readers. */
export function cover(item, extra = "") {
  const random = numbers(hash(item.item));
  const next = () => random.next().value;
  const genres = item.genres?.length ? item.genres : [item.item];
  // Like genres have like colours, yet a row of them is not all of one.
  const hue = (hash(genres[0]) % 360) + 56 * (next() - 0.5);
  const second = genres.length > 1 ? hash(genres[1]) % 360 : (hue + 50) % 360;
  // The shorter way round the wheel, and not too far: colours that meet half way stay clean.
  const turn = ((second - hue + 540) % 360) - 180;
  const waves = [2, 3, 5].map((n) => ({ n, size: 0.05 + 0.09 * next(), phase: 6.3 * next() }));
  const x = 25 + 60 * next();
  const y = 15 + 45 * next();
  const lines = Array.from({ length: 9 }, (_, ring) =>
    svg("path", { d: contour(x, y, 7 + ring * (9 + ring * 0.9), waves), opacity: (0.5 - ring * 0.045).toFixed(2) }),
  );
  const node = h(
    "span",
    { class: `cover ${extra}`, "aria-hidden": "true" },
    svg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "xMidYMid slice" }, ...lines),
    h("span", { class: "initials" }, initials(item)),
  );
  node.style.setProperty("--hue", hue.toFixed(0));
  node.style.setProperty("--hue2", (hue + Math.max(-70, Math.min(70, turn))).toFixed(0));
  return node;
}
