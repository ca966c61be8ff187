// The workflows of the range: sorted, searched, and each with its trend.

import { Failure, MOST_PAGES, PAGE } from "./api.js";
import { drawn, fill, h } from "./dom.js";
import { emptiness, Panel } from "./panel.js";
import { bucketsOf, countOf, isStored, keyOf, PERIODS } from "./ranges.js";
import { scrolling } from "./tables.js";
import { term } from "./terms.js";
import { approximately, sampleSize } from "./tiles.js";
import { filtersOf, requireAddedUp, within } from "./view.js";
import { count, duration, percent } from "./words.js";

// What fits on a screen; the rest is a button away.
const SHOWN = 15;

// Two points are a line whatever happened.
const FEWEST_POINTS = 3;

const COLUMNS = [
  { sort: "name", label: "Workflow" },
  { sort: "executions", label: "Executions", measure: "total_executions" },
  { label: "Trend" },
  { sort: "success", label: "Success", measure: "success_rate_pct" },
  { sort: "median", label: "Median", measure: "median_duration_ms" },
  { sort: "p95", label: "p95", measure: "p95_duration_ms" },
  { label: "n", measure: "timed_executions" },
];

/** The table of workflows. */
export function workflows(root) {
  let isWhole = false;
  return new Panel(root, {
    keyOf: (view) => [within(view.range), filtersOf(view.state, "workflow"), view.version],
    load,
    draw,
  });

  async function load(view, signal) {
    isWhole = false;
    requireAddedUp(view, view.range, [...new Set([...view.dimensions, "workflow"])]);
    const asked = { ...within(view.range), ...filtersOf(view.state, "workflow") };
    const { lines, isAll } = await view.api.all("workflows", "workflows", asked, signal);
    view.named("workflow", lines.map((line) => ({ id: line.workflow_id, name: nameOf(line) })));
    return { lines, isAll, trends: null, signal };
  }

  function draw(view, found, body) {
    if (!found.lines.length) {
      fill(body, emptiness("There is no workflow here yet."));
      return;
    }
    const searched = view.state.search.trim().toLowerCase();
    const matching = found.lines.filter((line) => nameOf(line).toLowerCase().includes(searched));
    const sorted = matching.sort(orderOf(view.state.sort));
    const shown = isWhole || searched ? sorted : sorted.slice(0, SHOWN);
    const frame = body.querySelector("table") ?? framed(view, body);
    const heads = [...frame.tHead.rows[0].cells];
    heads.forEach((head, index) => markSorted(head, COLUMNS[index], view.state.sort));
    fill(frame.tBodies[0], shown.map((line) => row(view, line, found.trends)));
    fill(body.querySelector(".below"), below(view, found, matching, shown));
    if (found.trends === null) {
      found.trends = new Map();
      trends(view, found)
        .then((map) => {
          found.trends = map;
          const current = view.current();
          if (current) draw(current, found, body);
        })
        .catch((failure) => {
          // Lines are an ornament: without them the table still says everything.
          if (!(failure instanceof Failure) && failure.name !== "AbortError") throw failure;
        });
    }
  }

  function below(view, { lines, isAll }, matching, shown) {
    if (!matching.length) return emptiness(`No workflow is called like “${view.state.search.trim()}”.`);
    const rest = matching.length - shown.length;
    const more = h(
      "button",
      {
        type: "button",
        click: () => {
          isWhole = true;
          view.redraw();
        },
      },
      `Show all ${count(matching.length)}`,
    );
    return [
      rest > 0 && more,
      !isAll && h("p", { class: "note" }, `Only the first ${count(lines.length)} workflows are listed.`),
    ];
  }
}

/** What a workflow is called, also when the source does not say. */
export function nameOf({ workflow_id: id, name }) {
  return name || `Unnamed workflow ${id.slice(0, 8)}`;
}

function framed(view, body) {
  const heads = COLUMNS.map(({ sort, label, measure }) =>
    h(
      "th",
      { scope: "col", class: sort === "name" ? null : "number" },
      sort
        ? h("button", { type: "button", class: "sort", click: () => view.current().sorted(sort) }, label)
        : measure
          ? term(label, measure, view.definitions)
          : label,
    ),
  );
  const frame = h("table", { class: "workflows" }, h("thead", {}, h("tr", {}, heads)), h("tbody"));
  frame.prepend(h("caption", { class: "unseen" }, "Workflows"));
  fill(body, scrolling("Workflows", frame), h("div", { class: "below" }));
  return frame;
}

function row(view, line, trends) {
  const isChosen = view.state.workflow === line.workflow_id;
  const name = h(
    "button",
    {
      type: "button",
      class: "choice",
      "aria-pressed": String(isChosen),
      title: isChosen ? "Show all workflows" : "Show this workflow alone",
      click: () => view.go({ workflow: isChosen ? null : line.workflow_id }),
    },
    nameOf(line),
  );
  const cells = [
    count(line.total_executions),
    trend(trends?.get(line.workflow_id)),
    percent(line.success_rate_pct),
    approximately(line, duration(line.median_duration_ms)),
    approximately(line, duration(line.p95_duration_ms)),
    sampleSize(line),
  ];
  const idle = line.total_executions ? "" : "idle";
  return h(
    "tr",
    { class: `${isChosen ? "chosen" : ""} ${idle}`.trim() || null },
    h("th", { scope: "row" }, name),
    cells.map((cell) => h("td", { class: "number" }, cell)),
  );
}

function markSorted(head, { sort }, state) {
  if (!sort || state.replace(/^-/, "") !== sort) head.removeAttribute("aria-sort");
  else head.setAttribute("aria-sort", state.startsWith("-") ? "descending" : "ascending");
}

function orderOf(sort) {
  const figure = {
    executions: "total_executions",
    success: "success_rate_pct",
    median: "median_duration_ms",
    p95: "p95_duration_ms",
  }[sort.replace(/^-/, "")];
  const sign = sort.startsWith("-") ? -1 : 1;
  const byName = (one, other) => nameOf(one).localeCompare(nameOf(other), "en");
  if (!figure) return (one, other) => sign * byName(one, other);
  return (one, other) => {
    const [mine, theirs] = [one[figure], other[figure]];
    // What has no figure comes last, whichever way.
    if (mine === null || theirs === null) return (mine === null) - (theirs === null) || byName(one, other);
    return sign * (mine - theirs) || byName(one, other);
  };
}

async function trends(view, { lines, signal }) {
  const busy = lines.filter((line) => line.total_executions).length;
  const dimensions = [...new Set([...view.dimensions, "workflow"])];
  const fits = (period) => busy * countOf(period, view.range) <= MOST_PAGES * PAGE;
  const suiting = PERIODS.filter((period) => period !== "hour" || view.range.days <= 3);
  const period = suiting.find((each) => fits(each) && isStored(view.definitions, each, dimensions));
  if (!period || !busy) return new Map();
  // A bucket that reaches beyond the range, or is not over, would look like a drop.
  const isWhole = (bucket) => bucket.completeness === "complete" && !bucket.beginsBefore && !bucket.endsAfter;
  const buckets = bucketsOf(period, view.range, view.zone, view.completeThrough).filter(isWhole);
  if (buckets.length < FEWEST_POINTS) return new Map();
  const asked = {
    since: new Date(buckets[0].start),
    until: new Date(buckets.at(-1).end),
    period,
    ...filtersOf(view.state, "workflow"),
    workflow: "each",
    measures: "total_executions",
  };
  const { lines: rows } = await view.api.all("metrics", "rows", asked, signal);
  const places = new Map(buckets.map((bucket, place) => [bucket.key, place]));
  const found = new Map();
  for (const each of rows) {
    const id = each.workflow_id;
    if (!found.has(id)) found.set(id, { period, values: new Array(buckets.length).fill(0) });
    found.get(id).values[places.get(keyOf(period, Date.parse(each.period_start), view.zone))] = each.total_executions;
  }
  return found;
}

function trend(found) {
  if (!found || found.values.length < FEWEST_POINTS) return null;
  const { values, period } = found;
  const [width, height, most] = [96, 22, Math.max(...values, 1)];
  const x = (place) => ((place * (width - 4)) / (values.length - 1) + 2).toFixed(1);
  const y = (value) => (height - 2 - (value / most) * (height - 5)).toFixed(1);
  const line = values.map((value, place) => `${x(place)},${y(value)}`).join(" ");
  const said = `from ${count(Math.min(...values))} to ${count(most)} by ${period}`;
  return [
    drawn(
      "svg",
      { class: "trend", viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" },
      drawn("polygon", { points: `${x(0)},${height - 2} ${line} ${x(values.length - 1)},${height - 2}` }),
      drawn("polyline", { points: line }),
    ),
    h("span", { class: "unseen" }, said),
  ];
}
