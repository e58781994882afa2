// The dialog with one item and those like it.

import * as api from "./api.js";
import { errorNotice, likeButton, row } from "./cards.js";
import { cover, titleOf } from "./cover.js";
import { byId, h, icon } from "./dom.js";

export class Detail {
  /** @param like () => { label, pressed(item), onlike } for the present mode */
  constructor(like) {
    this.dialog = byId("detail");
    this.like = like;
    this.pending = null;
    this.dialog.addEventListener("click", (event) => {
      // The dialog itself is hit only outside its content: on the backdrop.
      if (event.target === this.dialog) this.dialog.close();
    });
    this.dialog.addEventListener("close", () => this.pending?.abort());
  }

  async open(item) {
    this.pending?.abort();
    const pending = new AbortController();
    this.pending = pending;
    const list = h("ul", { class: "rows", "aria-busy": "true" }, ...Array.from({ length: 6 }, () => h("li", { class: "row skeleton" }, h("span", { class: "cover small" }), h("span", { class: "line" }))));
    const { label, pressed, onlike } = this.like();
    const title = h("h2", { id: "detail-title", tabindex: "-1" }, titleOf(item));
    const chips = [item.year, ...(item.genres ?? [])].filter(Boolean).map((text) => h("li", {}, text));
    this.dialog.replaceChildren(
      h(
        "div",
        { class: "sheet" },
        h("button", { type: "button", class: "end shut", "aria-label": "Close", onclick: () => this.dialog.close() }, icon("close")),
        h(
          "div",
          { class: "hero" },
          cover(item, "wide"),
          h("div", { class: "words" }, title, h("ul", { class: "chips", "aria-label": "Year and genres" }, ...chips), item.reason ? h("p", { class: "reason" }, icon("spark"), h("span", {}, item.reason)) : null),
          likeButton(item, { pressed: pressed(item), label, onlike }),
        ),
        h("h3", {}, "Similar"),
        list,
      ),
    );
    if (!this.dialog.open) this.dialog.showModal();
    title.focus();
    try {
      const answer = await api.similar(item.item, 12, pending.signal);
      const rows = answer.items.map(({ reason, source, score, ...other }) => row(other, { onopen: (next) => this.open(next) }));
      list.replaceChildren(...(rows.length ? rows : [h("li", { class: "hint" }, "Nothing similar is known.")]));
    } catch (error) {
      if (!pending.signal.aborted) list.replaceChildren(h("li", {}, errorNotice(error.message, () => this.open(item))));
    } finally {
      list.removeAttribute("aria-busy");
    }
  }
}
