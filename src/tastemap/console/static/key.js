// The key of a service that asks for one: asked for once, and forgotten when the tab is closed.

import { h } from "./dom.js";

const NAME = "tastemap-key";

let asking = null;

export const authorization = () => {
  const key = sessionStorage.getItem(NAME);
  return key === null ? {} : { authorization: `Bearer ${key}` };
};

/**
 * Asks for a key, once for all who wait.
 * @param why what the service said
 * @returns whether there is one now
 */
export function askForKey(why) {
  asking ??= ask(why).finally(() => (asking = null));
  return asking;
}

function ask(why) {
  const input = h("input", {
    id: "key", type: "password", autocomplete: "off", spellcheck: "false", maxlength: 256, required: true,
  });
  const dialog = h("dialog", { class: "detail", "aria-labelledby": "key-title" });
  return new Promise((resolve) => {
    const done = (event) => {
      event.preventDefault();
      // Headers hold no other characters, and neither do keys.
      const key = input.value.replace(/[^\x21-\x7e]/g, "");
      if (key) sessionStorage.setItem(NAME, key);
      dialog.close(key);
    };
    dialog.append(
      h(
        "form",
        { class: "sheet key", onsubmit: done },
        h("h2", { id: "key-title" }, "This service asks for a key"),
        h("p", { class: "hint" }, why),
        h("label", { for: "key" }, "Key"),
        input,
        h("button", { type: "submit", class: "button" }, "Go on"),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue !== "");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
