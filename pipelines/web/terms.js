// Labels that explain themselves, in the words of the API's dictionary.

import { byId, fill, h } from "./dom.js";

/** A label; pressed, it says what the figure means. */
export function term(label, measure, definitions) {
  const meaning = meaningOf(measure, definitions);
  if (!meaning) return label;
  const button = h("button", { type: "button", class: "term", popovertarget: "meaning" }, label);
  button.addEventListener("click", () => {
    const place = byId("meaning");
    fill(place, h("strong", {}, label), h("p", {}, meaning));
    const { left, bottom } = button.getBoundingClientRect();
    place.style.left = `${Math.max(8, Math.min(left, innerWidth - 340))}px`;
    place.style.top = `${bottom + 6}px`;
  });
  return button;
}

/** Every figure and what it means. */
export function dictionary(definitions) {
  return definitions.measures.map(({ name, meaning }) => [h("dt", {}, h("code", {}, name)), h("dd", {}, meaning)]);
}

function meaningOf(measure, definitions) {
  return definitions.measures.find(({ name }) => name === measure)?.meaning;
}
