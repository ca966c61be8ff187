// What is looked at: the form that changes the state, and shows what it is.

import { byId, fill, h } from "./dom.js";
import { automaticPeriod, countOf, isStored, MOST_BUCKETS, PERIODS } from "./ranges.js";

const ALL = { workflow: "All workflows", client: "All clients", initiator: "All initiators" };

/** The form; `go` is called with what changes. */
export class Filters {
  constructor(go) {
    this.go = go;
    this.names = { workflow: new Map(), client: new Map(), initiator: new Map() };
    for (const radio of document.querySelectorAll("input[name=range]")) {
      radio.addEventListener("change", () => this.#ranged(radio.value));
    }
    for (const id of ["from", "to"]) byId(id).addEventListener("change", () => this.#dated());
    for (const name of ["period", "workflow", "client", "initiator"]) {
      byId(name).addEventListener("change", ({ target }) => go({ [name]: target.value || null }));
    }
    byId("clear").addEventListener("click", () => go({ workflow: null, client: null, initiator: null }));
    byId("search").addEventListener("input", ({ target }) => go({ search: target.value }, { replace: true }));
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
  }

  /** What there is to choose from, by name. */
  named(dimension, found) {
    this.names[dimension] = new Map(found.map(({ id, name }) => [id, name]));
    this.#choices(dimension);
  }

  /** Nobody's names are there to choose from. */
  forget() {
    this.state = null;
    for (const dimension of Object.keys(ALL)) this.named(dimension, []);
  }

  /** Show a view's state. */
  show(view) {
    const { state, range } = view;
    this.state = state;
    byId(`range-${state.range}`).checked = true;
    byId("dates").hidden = state.range !== "custom";
    byId("from").value = range.first;
    byId("to").value = range.last;
    this.#periods(view);
    for (const dimension of Object.keys(ALL)) this.#choices(dimension);
    byId("clear").hidden = !view.dimensions.length;
    if (byId("search").value !== state.search) byId("search").value = state.search;
  }

  #ranged(range) {
    if (range !== "custom") this.go({ range, from: null, to: null });
    else this.go({ range, from: byId("from").value, to: byId("to").value });
  }

  #dated() {
    const [from, to] = [byId("from").value, byId("to").value];
    const isRange = from && to && from <= to;
    byId("to").setCustomValidity(!isRange && from && to ? "The last day comes before the first." : "");
    if (isRange) this.go({ range: "custom", from, to });
    else byId("to").reportValidity();
  }

  #periods({ state, range, definitions, dimensions }) {
    const automatic = automaticPeriod(definitions, range, dimensions);
    const choices = PERIODS.map((period) => {
      const lacking = !isStored(definitions, period, dimensions)
        ? "not stored with these filters"
        : countOf(period, range) > MOST_BUCKETS
          ? "too many for this range"
          : "";
      const text = period[0].toUpperCase() + period.slice(1) + (lacking && ` (${lacking})`);
      return h("option", { value: period, disabled: Boolean(lacking) && period !== state.period }, text);
    });
    fill(byId("period"), h("option", { value: "" }, `Automatic (${automatic})`), choices);
    byId("period").value = state.period ?? "";
  }

  #choices(dimension) {
    const chosen = this.state?.[dimension] ?? null;
    const names = this.names[dimension];
    const sorted = [...names].sort(([, one], [, other]) => one.localeCompare(other, "en"));
    if (chosen !== null && !names.has(chosen)) sorted.unshift([chosen, `Chosen: ${chosen.slice(0, 12)}`]);
    const options = sorted.map(([id, name]) => h("option", { value: id }, name));
    fill(byId(dimension), h("option", { value: "" }, ALL[dimension]), options);
    byId(dimension).value = chosen ?? "";
  }
}
