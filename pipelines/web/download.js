// Figures as a CSV file, asked for with the token and handed to the browser.

import { h } from "./dom.js";

/** Save a text under a name. */
export function save(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  h("a", { href: address, download: name }).click();
  // The browser has it by then.
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
