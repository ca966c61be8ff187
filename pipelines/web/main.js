// The page: who looks at what, and the parts that show it.

import { Api, Failure } from "./api.js";
import { breakdown } from "./breakdown.js";
import { addDays, dayAt, firstOfMonth, knowsZone } from "./days.js";
import { byId, fill, h } from "./dom.js";
import { save } from "./download.js";
import { Filters } from "./filters.js";
import { heatmap } from "./heatmap.js";
import { durations, executions, seriesParameters } from "./series.js";
import { dropToken, keepToken, session, takeToken } from "./session.js";
import { isTable, readState, withTable, writeState } from "./state.js";
import { dictionary } from "./terms.js";
import { onSystemTheme, otherTheme, showTheme } from "./theme.js";
import { compared, tiles } from "./tiles.js";
import { editionOf, filtersOf, viewOf, within } from "./view.js";
import { count, FEW, month, moment, plainDay, span } from "./words.js";
import { workflows } from "./workflows.js";

// Before anything is measured by anybody's clock.
const BEGINNING = "2000-01-01T00:00:00Z";

// A page that stays open asks again whether there is something new.
const ASK_AGAIN_MS = 5 * 60_000;

const panels = {
  tiles: tiles(byId("tiles")),
  executions: executions(byId("executions")),
  durations: durations(byId("durations")),
  hours: heatmap(byId("hours")),
  workflows: workflows(byId("workflows")),
  clients: breakdown(byId("clients"), "client"),
  initiators: breakdown(byId("initiators"), "initiator"),
};
const filters = new Filters(go);

let known = null;
let shown = null;
let view = null;
let state = readState(location.search);
let asking = 0;

/** Change the state, which the address then says. */
function go(changes, { replace = false } = {}) {
  state = Object.freeze({ ...state, ...changes });
  const address = location.pathname + writeState(state);
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  render();
}

/** Who looks, and how complete what they see is. */
async function begin() {
  takeToken();
  const who = session();
  showTheme(state.theme);
  if (!who || who.problem) {
    signIn(who);
    return;
  }
  if (shown !== null && shown !== who.organization) forget();
  shown = who.organization;
  const mine = (asking += 1);
  byId("dashboard").hidden = false;
  byId("sign-in").hidden = true;
  byId("sign-out").hidden = false;
  busy(true, "Loading …");
  try {
    const api = new Api(who);
    const [completeness, definitions] = await Promise.all([api.ask("completeness", {}), api.definitions()]);
    if (mine !== asking) return;
    if (!knowsZone(completeness.time_zone)) {
      throw new Failure(0, `This browser does not know the time zone ${completeness.time_zone}.`);
    }
    known = { api, completeness, definitions };
    introduce(completeness, definitions, who.organization);
    await render();
  } catch (failure) {
    if (mine !== asking) return;
    if (failure instanceof Failure) refused(failure);
    else throw failure;
  }
}

/** Show what the state asks for. */
async function render() {
  showTheme(state.theme);
  if (!known) return;
  const mine = (view = viewOf(state, known, acts));
  filters.show(mine);
  fill(byId("range-said"), mine.range.days > 0 ? compared(mine) : "");
  for (const button of document.querySelectorAll("[data-table]")) {
    button.setAttribute("aria-pressed", String(isTable(state, button.dataset.table)));
  }
  for (const radio of document.querySelectorAll("input[name=heat]")) radio.checked = radio.value === state.heat;
  byId("figures").hidden = mine.range.days <= 0;
  if (mine.range.days <= 0) {
    noDays(mine);
    return;
  }
  busy(true, "Loading …");
  fill(byId("notice"));
  await Promise.all(Object.values(panels).map((panel) => panel.show(mine)));
  if (view !== mine) return;
  const total = panels.tiles.found?.now.total_executions ?? null;
  if (total === 0) await nothing(mine);
  if (view !== mine) return;
  const { first, last } = mine.range;
  busy(false, total === null ? `${span(first, last)} is shown.` : `${span(first, last)}: ${count(total)} executions.`);
}

const acts = {
  go,
  refused,
  current: () => view,
  named: (dimension, found) => filters.named(dimension, found),
  redraw: () => render(),
  sorted: (by) => go({ sort: state.sort === `-${by}` ? by : state.sort === by || by !== "name" ? `-${by}` : by }),
};

function introduce(completeness, definitions, organization) {
  const name = completeness.organization_name ?? `Organization ${organization.slice(0, 8)}`;
  const { time_zone: zone, verified_at: verified } = completeness;
  byId("organization").textContent = name;
  document.title = `${name} · execution metrics`;
  fill(byId("complete"), "Complete through ", h("strong", {}, stamp(completeness.complete_through, zone)));
  const published = `Published ${moment(Date.parse(completeness.published_at), zone)}.`;
  const checked = verified
    ? `Last compared with the source ${moment(Date.parse(verified), zone)}.`
    : "Not compared with the source yet.";
  fill(byId("published"), `${published} ${checked} Version ${completeness.published_version}.`);
  const few = `Fewer than ${FEW} timed jobs are marked “few”: one more of them could move a percentile far.`;
  fill(byId("few-said"), few);
  fill(byId("dictionary"), dictionary(definitions));
}

function stamp(text, zone) {
  return h("time", { datetime: text }, moment(Date.parse(text), zone));
}

/** Show nothing of an organization any more. */
function clear() {
  known = view = null;
  for (const panel of Object.values(panels)) panel.clear();
  filters.forget();
}

/** Leave nothing behind for the next person, nor filters by what the last organization alone has. */
function forget() {
  clear();
  for (const id of ["complete", "published", "range-said", "notice"]) fill(byId(id));
  state = Object.freeze({ ...state, workflow: null, client: null, initiator: null, search: "" });
  history.replaceState(history.state, "", location.pathname + writeState(state));
}

function signIn(who) {
  const said = {
    expired: () => "The token has expired. Ask for a new one, or open the link that came with it again.",
    unreadable: () => "That is not a token of this service.",
    refused: () => who.detail,
  }[who?.problem];
  // Whatever is still under way was asked by somebody who has left.
  asking += 1;
  clear();
  byId("dashboard").hidden = true;
  byId("sign-in").hidden = false;
  byId("organization").textContent = "Execution metrics";
  document.title = "Sign in · execution metrics";
  fill(byId("complete"));
  byId("sign-out").hidden = true;
  fill(byId("sign-in-said"), said && h("p", { class: "notice", role: "alert" }, said()));
  busy(false, "");
}

function refused(failure) {
  if (failure.status === 401 || failure.status === 404) {
    asking += 1;
    dropToken();
    signIn({ problem: "refused", detail: failure.message });
    return;
  }
  const again = h("button", { type: "button", click: begin }, "Try again");
  fill(byId("notice"), h("div", { class: "notice", role: "alert" }, h("p", {}, failure.message), again));
  busy(false, failure.message);
}

function noDays({ zone, completeThrough }) {
  for (const panel of Object.values(panels)) panel.clear();
  const text = `No day of this month is complete yet: ${moment(completeThrough, zone)} is how far the figures go.`;
  fill(byId("notice"), h("div", { class: "notice" }, h("p", {}, text)));
  busy(false, text);
}

/** An empty page says where there is something to see. */
async function nothing(mine) {
  const { range, dimensions, api, zone } = mine;
  const asked = { since: BEGINNING, until: new Date(mine.completeThrough), period: "month" };
  let latest;
  try {
    const parameters = { ...asked, ...filtersOf(mine.state), measures: "total_executions" };
    const { lines } = await api.all("metrics", "rows", parameters);
    latest = lines.length ? dayAt(Date.parse(lines.at(-1).period_start), zone) : null;
  } catch (failure) {
    if (!(failure instanceof Failure)) throw failure;
  }
  if (view !== mine) return;
  const last = latest && addDays(firstOfMonth(latest, 1), -1);
  const jump = () => go({ range: "custom", from: latest, to: last });
  const clear = () => go({ workflow: null, client: null, initiator: null });
  fill(
    byId("notice"),
    h(
      "div",
      { class: "notice" },
      h(
        "p",
        {},
        h("strong", {}, `No job completed from ${plainDay(range.first)} to ${plainDay(range.last)}`),
        dimensions.length ? " with these filters." : ".",
        latest && ` The last ones completed in ${month(latest)}.`,
        // Where it could not be found out, nothing is said.
        latest === null && " None ever did.",
      ),
      latest && h("button", { type: "button", class: "primary", click: jump }, `Show ${month(latest)}`),
      dimensions.length > 0 && h("button", { type: "button", click: clear }, "Clear filters"),
    ),
  );
}

function busy(isBusy, words) {
  byId("main").setAttribute("aria-busy", String(isBusy));
  byId("said").textContent = words;
}

async function download(button) {
  const panel = button.dataset.csv;
  const { range, api } = view;
  const list = { workflows: "workflow", clients: "client", initiators: "initiator" }[panel];
  button.disabled = true;
  try {
    const text = list
      ? await api.csv(panel, { ...within(range), ...filtersOf(view.state, list) })
      : await api.csv("metrics", seriesParameters(view, panel));
    save(`${panel} ${range.first} to ${range.last}.csv`, text);
    byId("said").textContent = "The CSV file is saved.";
  } catch (failure) {
    if (!(failure instanceof Failure)) throw failure;
    fill(byId("notice"), h("div", { class: "notice", role: "alert" }, h("p", {}, failure.message)));
  } finally {
    button.disabled = false;
  }
}

for (const button of document.querySelectorAll("[data-table]")) {
  button.addEventListener("click", () => go({ tables: withTable(state, button.dataset.table) }));
}
for (const button of document.querySelectorAll("[data-csv]")) {
  button.addEventListener("click", () => download(button));
}
for (const radio of document.querySelectorAll("input[name=heat]")) {
  radio.addEventListener("change", () => go({ heat: radio.value }));
}
byId("theme").addEventListener("click", () => go({ theme: otherTheme() }));
byId("sign-out").addEventListener("click", () => {
  dropToken();
  signIn(null);
});
byId("sign-in-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(byId("token").value);
  byId("token").value = "";
  begin();
});
onSystemTheme(() => render());
addEventListener("popstate", () => {
  state = readState(location.search);
  render();
});
addEventListener("hashchange", () => {
  if (location.hash.includes("token=")) begin();
});
setInterval(async () => {
  if (!known || document.hidden) return;
  try {
    const completeness = await known.api.ask("completeness", {});
    if (editionOf(completeness) !== editionOf(known.completeness)) begin();
  } catch (failure) {
    // The figures that are shown are still those of the stamp.
    if (!(failure instanceof Failure)) throw failure;
  }
}, ASK_AGAIN_MS);

begin();
