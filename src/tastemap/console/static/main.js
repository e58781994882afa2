// The page's state, and what happens when it changes. The address (#/user/42, #/picks/50,181) is
// the state that lasts; everything else is fetched.

import * as api from "./api.js";
import { card, errorNotice, skeletons } from "./cards.js";
import { Combobox } from "./combobox.js";
import { cover, titleOf } from "./cover.js";
import { Detail } from "./detail.js";
import { byId, h, icon } from "./dom.js";
import { picksPanel, profileText, userPanel } from "./taste.js";

const STEP = 24;

const state = {
  mode: "user",
  user: null,
  picks: [],
  k: STEP,
  service: null, // what /health said
  popular: [],
  anyUser: null, // whom to show before anybody is chosen
  fresh: new Set(), // items liked here just now
  pending: null,
};

const cards = byId("cards");
const taste = byId("taste");
const search = byId("search");

function announce(text) {
  const toast = byId("toast");
  toast.textContent = text;
  toast.classList.add("shown");
  clearTimeout(announce.timer);
  announce.timer = setTimeout(() => toast.classList.remove("shown"), 3500);
}

// -- the address ----------------------------------------------------------------------------------

function address() {
  if (state.mode === "user") return state.user === null ? "#/" : `#/user/${encodeURIComponent(state.user)}`;
  return `#/picks/${state.picks.map((item) => encodeURIComponent(item.item)).join(",")}`;
}

function go(changes) {
  Object.assign(state, { k: STEP }, changes);
  if (location.hash !== address()) history.pushState(null, "", address());
  show();
}

async function readAddress() {
  const [, mode, rest = ""] = /^#\/(user|picks)(?:\/(.*))?$/s.exec(location.hash) ?? [];
  state.k = STEP;
  if (mode === "picks") {
    const ids = rest.split(",").filter(Boolean).map(decoded);
    const known = new Map([...state.picks, ...state.popular].map((item) => [item.item, item]));
    const found = await Promise.allSettled(ids.map((id) => known.get(id) ?? api.item(id)));
    Object.assign(state, { mode, picks: found.filter((one) => one.status === "fulfilled").map((one) => one.value) });
  } else {
    const user = mode === "user" && rest ? decoded(rest) : state.anyUser;
    Object.assign(state, { mode: user === null ? "picks" : "user", user });
  }
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// -- what is shown --------------------------------------------------------------------------------

const onopen = (item) => detail.open(item);

function likeOf() {
  const picking = state.mode === "picks";
  const chosen = new Set(picking ? state.picks.map((item) => item.item) : state.fresh);
  return {
    label: picking ? "Pick" : "Like",
    pressed: (item) => chosen.has(item.item),
    onlike: picking ? pickOrDrop : like,
  };
}

const detail = new Detail(likeOf);

function showFrame() {
  const picking = state.mode === "picks";
  byId("mode-user").setAttribute("aria-pressed", String(!picking));
  byId("mode-picks").setAttribute("aria-pressed", String(picking));
  byId("search-label").textContent = picking ? "Find things you like" : "Find a user";
  search.placeholder = picking ? "Search by title or id…" : "User id, or a new name…";
  byId("heading").textContent = picking ? "Recommended for you" : `Recommended for user ${state.user}`;
  document.title = picking ? "Your picks · tastemap" : `User ${state.user} · tastemap`;
}

function showPicks() {
  taste.replaceChildren(
    ...picksPanel(state.picks, state.popular, {
      onopen,
      onadd: pickOrDrop,
      onremove: pickOrDrop,
      onclear: () => go({ picks: [] }),
    }),
  );
}

function showAnswer(answer) {
  const { label, onlike } = likeOf();
  cards.replaceChildren(...answer.items.map((item) => card(item, { likeLabel: label, onlike, onopen })));
  const personal = answer.items.filter((item) => !item.source.startsWith("popularity")).length;
  const n = answer.items.length;
  byId("release").textContent = `${state.service.model} · ${answer.release}`;
  byId("subheading").textContent = n === 0
    ? "Nothing is left to recommend."
    : personal === n
      ? state.mode === "picks" ? "The best fits for your picks first." : "The best fits first, and nothing they know already."
      : personal === 0
        ? "What is popular, until more is known."
        : `${personal} of ${n} are personal, the others popular.`;
  byId("more").hidden = n < state.k || state.k >= 240;
}

/** Fetches and shows everything for the present state; what an older call brings is dropped. */
async function show({ quiet = false } = {}) {
  state.pending?.abort();
  const pending = new AbortController();
  state.pending = pending;
  showFrame();
  byId("notice").replaceChildren();
  cards.setAttribute("aria-busy", "true");
  if (!quiet) cards.replaceChildren(...skeletons(12));
  if (state.mode === "picks") showPicks();
  try {
    if (state.mode === "picks") {
      showAnswer(await api.forPicks(state.picks.map((item) => item.item), state.k, pending.signal));
    } else {
      const [history, answer] = await Promise.all([
        api.history(state.user, pending.signal),
        api.forUser(state.user, state.k, pending.signal),
      ]);
      taste.replaceChildren(...userPanel(history, { best: state.service.like.value, fresh: state.fresh, onopen }));
      showAnswer(answer);
    }
  } catch (error) {
    if (pending.signal.aborted) return;
    cards.replaceChildren();
    byId("more").hidden = true;
    byId("subheading").textContent = "";
    byId("notice").replaceChildren(errorNotice(error.message, () => show()));
  }
  cards.removeAttribute("aria-busy");
}

// -- what people do -------------------------------------------------------------------------------

/** Keeps the focus near, when the card that held it is replaced. */
async function refreshKeepingPlace(place) {
  await show({ quiet: true });
  if (place >= 0) cards.children[Math.min(place, cards.children.length - 1)]?.querySelector(".like")?.focus({ preventScroll: true });
}

function placeOf(button) {
  return Array.from(cards.children).indexOf(button.closest(".card"));
}

async function like(item, button) {
  if (button.getAttribute("aria-pressed") === "true") return;
  const place = placeOf(button);
  button.setAttribute("aria-pressed", "true");
  button.closest(".card")?.classList.add("leaving");
  try {
    await api.like(state.user, item.item, state.service.like);
    state.fresh.add(item.item);
    announce(`Liked “${titleOf(item)}”. The recommendations follow.`);
    await refreshKeepingPlace(place);
  } catch (error) {
    button.setAttribute("aria-pressed", "false");
    button.closest(".card")?.classList.remove("leaving");
    announce(`That was not recorded. ${error.message}`);
  }
}

async function pickOrDrop(item, button) {
  const place = button ? placeOf(button) : -1;
  const chosen = state.picks.some((other) => other.item === item.item);
  const picks = chosen
    ? state.picks.filter((other) => other.item !== item.item)
    : [...state.picks, { item: item.item, title: item.title, year: item.year, genres: item.genres }];
  Object.assign(state, { mode: "picks", picks });
  button?.setAttribute("aria-pressed", String(!chosen));
  history.pushState(null, "", address());
  announce(`${chosen ? "Removed" : "Picked"} “${titleOf(item)}”.`);
  await refreshKeepingPlace(place);
}

async function findChoices(query, signal) {
  if (state.mode === "picks") {
    const { items } = await api.findItems(query, signal);
    const chosen = new Set(state.picks.map((item) => item.item));
    return items
      .filter((item) => !chosen.has(item.item))
      .map((item) => ({
        key: item.item,
        nodes: [cover(item, "tiny"), h("span", {}, titleOf(item)), h("span", { class: "facts" }, item.year ?? "")],
        choose: () => pickOrDrop(item),
      }));
  }
  const { users } = await api.findUsers(query, signal);
  const choices = users.map((user) => ({
    key: user.user,
    nodes: [icon("user"), h("span", {}, user.user), h("span", { class: "facts" }, profileText(user.profile) || `${user.events} events`)],
    choose: () => chooseUser(user.user),
  }));
  if (query && !users.some((user) => user.user === query)) {
    choices.push({
      key: query,
      nodes: [icon("plus"), h("span", {}, query), h("span", { class: "facts" }, "someone new")],
      choose: () => chooseUser(query),
    });
  }
  return choices;
}

function chooseUser(user) {
  go({ user, fresh: new Set() });
}

// -- beginning ------------------------------------------------------------------------------------

new Combobox(search, byId("options"), findChoices);
byId("mode-user").addEventListener("click", () => {
  state.user ??= state.anyUser;
  if (state.user !== null) go({ mode: "user" });
});
byId("mode-picks").addEventListener("click", () => go({ mode: "picks" }));
byId("more").addEventListener("click", async () => {
  const shown = cards.children.length;
  state.k += STEP;
  await show({ quiet: true });
  cards.children[shown]?.querySelector(".open")?.focus();
});
window.addEventListener("popstate", () => begin());

async function begin() {
  cards.replaceChildren(...skeletons(12));
  try {
    state.service ??= await api.health();
    if (!state.popular.length) {
      const [{ items }, { users }] = await Promise.all([api.findItems(""), api.findUsers("")]);
      Object.assign(state, { popular: items, anyUser: users[0]?.user ?? null });
    }
    await readAddress();
  } catch (error) {
    cards.replaceChildren();
    byId("notice").replaceChildren(errorNotice(error.message, begin));
    return;
  }
  await show();
}

begin();
