// What is looked at, as the address says it: a link shows the next person the same page.

import { isDay } from "./days.js";
import { PERIODS, RANGES } from "./ranges.js";

export const SORTS = ["name", "executions", "success", "median", "p95"];
export const DEFAULTS = Object.freeze({
  range: "30d",
  from: null,
  to: null,
  period: null,
  workflow: null,
  client: null,
  initiator: null,
  sort: "-executions",
  search: "",
  heat: "executions",
  tables: "",
  theme: null,
});

const ACCEPTED = {
  range: (value) => RANGES.includes(value),
  from: isDay,
  to: isDay,
  period: (value) => PERIODS.includes(value),
  workflow: isOne,
  client: isOne,
  initiator: isOne,
  sort: (value) => SORTS.includes(value.replace(/^-/, "")),
  search: () => true,
  heat: (value) => ["executions", "success"].includes(value),
  tables: () => true,
  theme: (value) => ["light", "dark"].includes(value),
};

/** Read a query; what cannot be understood is as if it were not there. */
export function readState(query) {
  const state = { ...DEFAULTS };
  for (const [name, value] of new URLSearchParams(query)) {
    if (Object.hasOwn(ACCEPTED, name) && ACCEPTED[name](value)) state[name] = value;
  }
  if (state.range === "custom" && !(state.from && state.to && state.from <= state.to)) {
    state.range = DEFAULTS.range;
  }
  if (state.range !== "custom") state.from = state.to = null;
  return Object.freeze(state);
}

/** Write a query, which says only what is not as it is by default. */
export function writeState(state) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) {
    if (value !== DEFAULTS[name] && value !== null) query.set(name, value);
  }
  const text = query.toString();
  return text ? `?${text}` : "";
}

/** Whether a panel is shown as a table. */
export function isTable(state, panel) {
  return state.tables.split(" ").includes(panel);
}

/** The panels that are shown as tables, with one of them turned over. */
export function withTable(state, panel) {
  const shown = state.tables.split(" ").filter((name) => name && name !== panel);
  return (isTable(state, panel) ? shown : [...shown, panel].sort()).join(" ");
}

/** The API takes one word for a row of each, which no part of the page could show as one. */
function isOne(value) {
  return value !== "" && value !== "each";
}
