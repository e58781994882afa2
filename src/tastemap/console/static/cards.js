// Cards of the grid, rows of a history, and what stands in their place while they load.

import { cover, titleOf } from "./cover.js";
import { h, icon } from "./dom.js";

function facts(item) {
  const genres = (item.genres ?? []).slice(0, 3).join(", ");
  return [item.year, genres].filter(Boolean).join(" · ");
}

/** The source for people: "popularity:age=25–34" is popularity. */
export function sourceName(source) {
  const name = source.split(":")[0];
  return { popularity: "popular", similar: "similar", als: "ALS", ease: "EASE", itemknn: "ItemKNN", matrixfactorization: "MF" }[name] ?? name;
}

export function likeButton(item, { pressed = false, label, onlike }) {
  return h(
    "button",
    {
      type: "button",
      class: "like",
      "aria-pressed": String(pressed),
      "aria-label": `${label} ${titleOf(item)}`,
      title: label,
      "data-item": item.item,
      onclick: (event) => onlike(item, event.currentTarget),
    },
    icon("heart"),
  );
}

/** A recommended item: cover, title, facts, and why it is there. */
export function card(item, { likeLabel, onlike, onopen }) {
  const popular = item.source.startsWith("popularity");
  return h(
    "li",
    { class: "card", "data-item": item.item },
    h(
      "button",
      { type: "button", class: "open", "aria-label": `${titleOf(item)}: show similar`, onclick: () => onopen(item) },
      cover(item),
    ),
    likeButton(item, { label: likeLabel, onlike }),
    h(
      "div",
      { class: "about" },
      h("h2", { class: "title" }, titleOf(item)),
      h("p", { class: "facts" }, facts(item) || (item.title ? "" : "\u00a0")),
      h(
        "p",
        { class: "reason" },
        icon(popular ? "trend" : "spark"),
        h("span", {}, item.reason, " ", h("span", { class: "source", title: `found by: ${item.source}` }, sourceName(item.source))),
      ),
    ),
  );
}

/** A row of a history or of picks; `end` is what stands at its end. */
export function row(item, { onopen, end = null, fresh = false }) {
  return h(
    "li",
    { class: fresh ? "row fresh" : "row", "data-item": item.item },
    h(
      "button",
      { type: "button", class: "open", onclick: () => onopen(item) },
      cover(item, "small"),
      h(
        "span",
        { class: "words" },
        h("span", { class: "title" }, titleOf(item)),
        h("span", { class: "facts" }, facts(item)),
      ),
    ),
    end,
  );
}

export function skeletons(count) {
  return Array.from({ length: count }, () =>
    h(
      "li",
      { class: "card skeleton", "aria-hidden": "true" },
      h("span", { class: "cover" }),
      h("div", { class: "about" }, h("span", { class: "line" }), h("span", { class: "line short" }), h("span", { class: "line" })),
    ),
  );
}

export function errorNotice(message, onretry) {
  return h(
    "div",
    { class: "notice error", role: "alert" },
    h("p", {}, message),
    h("button", { type: "button", class: "button", onclick: onretry }, "Try again"),
  );
}
