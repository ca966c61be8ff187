// What all panels are shown: the state, and what follows from it.

import { Failure } from "./api.js";
import { automaticPeriod, dimensionsOf, isAddedUp, isStored, rangeOf } from "./ranges.js";

const LIST = new Intl.ListFormat("en");
const NAMES = { hour: "Hours", day: "Days", week: "Weeks", month: "Months" };

/** A view of an organization's figures; `acts` are what a panel may want to happen. */
export function viewOf(state, { api, completeness, definitions }, acts) {
  const zone = completeness.time_zone;
  const completeThrough = Date.parse(completeness.complete_through);
  const range = rangeOf(state, completeThrough, zone);
  const dimensions = dimensionsOf(state);
  return Object.freeze({
    state,
    api,
    definitions,
    zone,
    completeThrough,
    range,
    dimensions,
    // Whatever was published since is another answer to the same question, and so is another tenant's.
    version: `${api.base} ${editionOf(completeness)}`,
    period: state.period ?? automaticPeriod(definitions, range, dimensions),
    ...acts,
  });
}

// Asking for what is known not to be there would only fill the console.

/** Refuse rows of a period that are not kept for exactly the filters that are set. */
export function requireStored({ definitions, dimensions }, period) {
  if (isStored(definitions, period, dimensions)) return;
  throw new Failure(422, `${NAMES[period]} are not kept by ${LIST.format(dimensions)} together. Clear a filter to see them.`);
}

/** Refuse a range that is not made of what is kept for exactly these dimensions. */
export function requireAddedUp({ definitions }, range, dimensions) {
  if (isAddedUp(definitions, range, dimensions)) return;
  const kept = Object.keys(NAMES).filter((period) => isStored(definitions, period, dimensions));
  const together = `By ${LIST.format(dimensions)} together`;
  const whole = LIST.format(kept.map((period) => NAMES[period].toLowerCase()));
  const told = kept.length ? `only whole ${whole} are kept: choose such days.` : "nothing is kept: clear a filter.";
  throw new Failure(422, `${together} ${told}`);
}

/** What changes whenever a figure does, or what is said of them. */
export function editionOf({ published_at: published, edition, verified_at: verified }) {
  return `${published} ${edition} ${verified}`;
}

/** The parameters of a range: days, which the API begins by the organization's clocks. */
export function within(range) {
  return { since: range.first, until: range.end };
}

/** The parameters of the filters, but for those that are told apart. */
export function filtersOf(state, ...except) {
  const names = ["workflow", "client", "initiator"].filter((name) => !except.includes(name));
  return Object.fromEntries(names.map((name) => [name, state[name]]));
}
