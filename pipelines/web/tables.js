// Tables of figures, which scroll by themselves where there is no room, also by keys.

import { h } from "./dom.js";

/** A table; the first cell of a row is its heading, and numbers stand to the right. */
export function table({ caption, columns, rows }) {
  const heads = columns.map((name, index) => h("th", { scope: "col", class: index ? "number" : null }, name));
  const lines = rows.map(([first, ...rest]) =>
    h("tr", {}, h("th", { scope: "row" }, first), rest.map((cell) => h("td", { class: "number" }, cell))),
  );
  return scrolling(
    caption,
    h(
      "table",
      {},
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, heads)),
      h("tbody", {}, lines),
    ),
  );
}

/** A frame that can be reached and scrolled by keys. */
export function scrolling(label, ...children) {
  return h("div", { class: "scrolling", role: "region", tabindex: "0", "aria-label": label }, children);
}
