// The side panel: who is asked for, and what is known of their taste.

import { row } from "./cards.js";
import { titleOf } from "./cover.js";
import { h, icon } from "./dom.js";

/** A profile as "24 · M · technician"; codes that say nothing to people are left out. */
export function profileText(profile) {
  return Object.entries(profile)
    .filter(([name]) => !/zip|post/i.test(name))
    .map(([, value]) => value)
    .slice(0, 3)
    .join(" · ");
}

function count(n, one, many) {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

function stars(item, best) {
  if (best <= 1) return null;
  return h("span", { class: "stars", title: `value ${item.value}` }, `★ ${Number(item.value.toFixed(1))}`);
}

function section(title, note, items, extra = "") {
  return h(
    "section",
    { class: `list ${extra}` },
    h("h2", {}, title, h("span", { class: "note" }, note)),
    h("ul", { class: "rows" }, ...items),
  );
}

/** A user: the profile, what they liked, and what else they have seen. */
export function userPanel(history, { best, fresh, onopen }) {
  const seen = new Set();
  const once = history.items.filter((item) => !seen.has(item.item) && seen.add(item.item));
  const rows = (items) => items.map((item) => row(item, { onopen, end: stars(item, best), fresh: fresh.has(item.item) }));
  const liked = once.filter((item) => item.liked);
  const other = once.filter((item) => !item.liked);
  const about = profileText(history.profile);
  const note = (items) => (history.count > history.items.length ? `${items.length} of the newest` : items.length);
  return [
    h(
      "div",
      { class: "who" },
      h("span", { class: "avatar", "aria-hidden": "true" }, icon("user")),
      h(
        "div",
        {},
        h("p", { class: "name" }, history.user),
        h("p", { class: "facts" }, history.known ? [about, count(history.count, "event", "events")].filter(Boolean).join(" · ") : "New here: like something and watch"),
      ),
    ),
    liked.length ? section("What they liked", note(liked), rows(liked)) : null,
    other.length ? section("Also seen", note(other), rows(other), liked.length ? "minor" : "") : null,
    history.known ? null : h("p", { class: "hint" }, "Nothing is known of this user yet, so they see what is popular. Every like counts at once."),
  ].filter(Boolean);
}

/** Somebody without a name: the items picked so far, or some to begin with. */
export function picksPanel(picks, popular, { onopen, onadd, onremove, onclear }) {
  const end = (item, name, label, act) =>
    h("button", { type: "button", class: "end", "aria-label": `${label} ${titleOf(item)}`, onclick: () => act(item) }, icon(name));
  const chosen = new Set(picks.map((item) => item.item));
  const ideas = popular.filter((item) => !chosen.has(item.item)).slice(0, 8);
  return [
    picks.length
      ? h(
          "section",
          { class: "list" },
          h(
            "h2",
            {},
            "You picked",
            h("span", { class: "note" }, picks.length),
            h("button", { type: "button", class: "link", onclick: onclear }, "Clear"),
          ),
          h("ul", { class: "rows" }, ...picks.map((item) => row(item, { onopen, end: end(item, "close", "Remove", onremove) }))),
        )
      : h("p", { class: "hint" }, "Pick a few things you like. Nothing is stored: the answer is made from your picks alone."),
    ideas.length
      ? section("Well-known ones to pick from", "", ideas.map((item) => row(item, { onopen: onadd, end: end(item, "plus", "Pick", onadd) })))
      : null,
  ].filter(Boolean);
}
