// A part of the page that loads by itself, and says so when it is loading, empty or failed.

import { Failure } from "./api.js";
import { fill, h } from "./dom.js";

export class Panel {
  /** `load` asks for what `keyOf` names, and only when that has changed; `draw` shows it. */
  constructor(root, { keyOf, load, draw }) {
    Object.assign(this, { root, keyOf, load, draw });
    this.body = root.querySelector("[data-body]");
    this.key = null;
  }

  /** Show a view; what was shown before stays, paler, until the answer is there. */
  show(view) {
    this.view = view;
    const key = JSON.stringify(this.keyOf(view));
    if (key !== this.key) {
      this.controller?.abort();
      Object.assign(this, { key, found: null, controller: new AbortController() });
      this.loaded = this.#loaded(this.controller);
    } else if (this.found) {
      this.draw(view, this.found, this.body);
    }
    return this.loaded;
  }

  /** Show nothing, and forget what was asked. */
  clear() {
    this.controller?.abort();
    Object.assign(this, { key: null, found: null, controller: null });
    this.root.removeAttribute("aria-busy");
    fill(this.body);
  }

  async #loaded(controller) {
    this.root.setAttribute("aria-busy", "true");
    if (!this.body.hasChildNodes()) fill(this.body, h("p", { class: "loading" }, "Loading …"));
    try {
      const found = await this.load(this.view, controller.signal);
      if (this.controller !== controller) return;
      this.found = found;
      if (this.body.querySelector(".loading, .notice, .empty")) fill(this.body);
      this.draw(this.view, found, this.body);
    } catch (failure) {
      if (this.controller !== controller || failure.name === "AbortError") return;
      this.key = null;
      this.#failed(failure);
    }
    this.root.removeAttribute("aria-busy");
  }

  #failed(failure) {
    if (!(failure instanceof Failure)) throw failure;
    if (failure.status === 401) {
      this.view.refused(failure);
      return;
    }
    // What was asked cannot be answered, now or later; anything else is worth another try.
    const isOurs = [404, 409, 422].includes(failure.status);
    const again = h("button", { type: "button", click: () => this.show(this.view) }, "Try again");
    fill(
      this.body,
      h(
        "div",
        { class: "notice", role: isOurs ? null : "alert" },
        h("p", {}, h("strong", {}, isOurs ? "Not to be had this way. " : "Not loaded. "), failure.message),
        !isOurs && again,
      ),
    );
  }
}

/** A sentence in the place of a chart. */
export function emptiness(text) {
  return h("p", { class: "empty" }, text);
}
