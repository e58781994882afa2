// A search box with a list of choices, after the ARIA combobox pattern.

import { h } from "./dom.js";

/**
 * @param input the text field, with role "combobox"
 * @param list the `ul` with role "listbox"
 * @param find (query, signal) => promise of [{ key, nodes, choose }]
 */
export class Combobox {
  constructor(input, list, find) {
    this.input = input;
    this.list = list;
    this.find = find;
    this.choices = [];
    this.active = -1;
    this.pending = null;
    input.addEventListener("input", () => this.#search(120));
    input.addEventListener("focus", () => this.#search(0));
    input.addEventListener("click", () => this.list.hidden && this.#search(0));
    input.addEventListener("blur", () => this.close());
    input.addEventListener("keydown", (event) => this.#key(event));
    // Else the field loses the focus, and the list closes, before the click arrives.
    list.addEventListener("pointerdown", (event) => event.preventDefault());
  }

  close() {
    this.pending?.abort();
    clearTimeout(this.timer);
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
    this.active = -1;
  }

  #search(delay) {
    clearTimeout(this.timer);
    this.pending?.abort();
    const pending = new AbortController();
    this.pending = pending;
    this.timer = setTimeout(async () => {
      try {
        const choices = await this.find(this.input.value.trim(), pending.signal);
        if (!pending.signal.aborted) this.#show(choices);
      } catch (error) {
        if (!pending.signal.aborted) this.#show([], error.message);
      }
    }, delay);
  }

  #show(choices, message = "Nothing found") {
    this.choices = choices;
    const options = choices.map((choice, index) =>
      h(
        "li",
        { id: `option-${index}`, role: "option", "aria-selected": "false", "data-key": choice.key, onclick: () => this.#choose(index) },
        ...choice.nodes,
      ),
    );
    this.list.replaceChildren(...(options.length ? options : [h("li", { class: "empty", role: "presentation" }, message)]));
    this.list.hidden = false;
    this.list.scrollTop = 0;
    this.input.setAttribute("aria-expanded", "true");
    this.#activate(this.input.value.trim() && choices.length ? 0 : -1);
  }

  #activate(index) {
    this.list.children[this.active]?.setAttribute("aria-selected", "false");
    this.active = index;
    if (index < 0) {
      this.input.removeAttribute("aria-activedescendant");
      return;
    }
    const option = this.list.children[index];
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", option.id);
  }

  #choose(index) {
    const choice = this.choices[index];
    this.close();
    this.input.value = "";
    choice.choose();
  }

  #key(event) {
    const open = !this.list.hidden;
    const count = this.choices.length;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!open) this.#search(0);
      else if (count && event.key === "ArrowDown") this.#activate((this.active + 1) % count);
      else if (count) this.#activate(this.active > 0 ? this.active - 1 : count - 1);
    } else if (event.key === "Enter" && open && this.active >= 0) {
      event.preventDefault();
      this.#choose(this.active);
    } else if (event.key === "Escape" && open) {
      event.preventDefault();
      this.close();
    }
  }
}
