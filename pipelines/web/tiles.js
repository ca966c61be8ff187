// Four figures of the range, each beside what it was in the equal range before.

import { Failure } from "./api.js";
import { fill, h } from "./dom.js";
import { Panel } from "./panel.js";
import { term } from "./terms.js";
import { filtersOf, requireAddedUp, within } from "./view.js";
import { count, days, duration, FEW, jobs, percent, span, within as withinPercent } from "./words.js";

// What grew more is said in multiples.
const MOST_PERCENT = 1000;

/** The tiles. */
export function tiles(root) {
  return new Panel(root, {
    keyOf: (view) => [within(view.range), filtersOf(view.state), view.version],
    load,
    draw,
  });
}

async function load(view, signal) {
  const { api, range, state, dimensions } = view;
  const asked = async (part) => {
    requireAddedUp(view, part, dimensions);
    return api.ask("summary", { ...within(part), ...filtersOf(state) }, signal);
  };
  const earlier = range.isComplete ? asked(range.previous).catch(unlessRefused) : null;
  const [now, before] = await Promise.all([asked(range), earlier]);
  return { now, before };
}

function draw(view, { now, before }, body) {
  const known = before instanceof Failure ? null : before;
  const figure = (label, measure, text, change, ...lines) =>
    h(
      "article",
      { class: "tile", id: `tile-${measure}` },
      h("h3", {}, term(label, measure, view.definitions)),
      h("p", { class: "figure" }, h("data", { value: now[measure] ?? "" }, text)),
      h("p", { class: "change" }, change ?? absent(view, before)),
      lines.map((line) => h("p", { class: "detail" }, line)),
    );
  const timed = [`n = ${count(now.timed_executions)}`, few(now), near(now, view.dimensions)].filter(Boolean);
  fill(
    body,
    figure(
      "Executions",
      "total_executions",
      count(now.total_executions),
      known && share(now.total_executions, known.total_executions, count),
      `${count(now.completed_executions)} completed · ${count(now.failed_executions)} failed`,
    ),
    figure(
      "Success rate",
      "success_rate_pct",
      percent(now.success_rate_pct),
      known && points(now.success_rate_pct, known.success_rate_pct),
      `of ${jobs(now.total_executions)}`,
    ),
    figure(
      "Median duration",
      "median_duration_ms",
      approximately(now, duration(now.median_duration_ms)),
      known && share(now.median_duration_ms, known.median_duration_ms, duration, "worse"),
      spaced(timed),
    ),
    figure(
      "p95 duration",
      "p95_duration_ms",
      approximately(now, duration(now.p95_duration_ms)),
      known && share(now.p95_duration_ms, known.p95_duration_ms, duration, "worse"),
      spaced(timed),
    ),
  );
}

/** A mark for a figure of a few jobs only, where there is room for its reason. */
function few({ timed_executions: timed }) {
  return timed > 0 && timed < FEW && h("span", { class: "few" }, `few: n < ${FEW}`);
}

/** How many jobs a line's percentiles rest on, and a mark when they are few. */
export function sampleSize({ timed_executions: timed }) {
  const mark = timed > 0 && timed < FEW && [h("span", { class: "few", title: `n < ${FEW}` }, "few"), " "];
  return [mark, count(timed)];
}

/** An estimate is marked as one. */
export function approximately({ estimated, median_duration_ms: median }, text) {
  return estimated && median !== null ? [h("span", { class: "near", title: "estimated" }, "≈\u202f"), text] : text;
}

function near({ timed_executions: timed, estimated, relative_error: error, median_duration_ms: median }, dimensions) {
  if (median === null) {
    const three = "kept only of single weeks and months with three filters";
    return timed > 0 && (dimensions.length === 3 ? three : "not told by what is stored of this range");
  }
  return estimated && `≈ within ${withinPercent(error)}`;
}

function share(now, before, written, more = "neither") {
  if (!before || now === null) return null;
  const percentage = Math.abs(100 * (now - before)) / before;
  const size = percentage < MOST_PERCENT ? percent(percentage) : `${count(now / before)} times`;
  return changed(now - before, size, written(before), more);
}

function points(now, before) {
  if (now === null || before === null) return null;
  const moved = Math.abs(now - before);
  const size = moved && moved < 0.05 ? "< 0.1" : moved.toFixed(1);
  return changed(now - before, `${size} points`, percent(before), "better");
}

function changed(moved, size, before, more) {
  if (!moved) return `unchanged from ${before}`;
  const isGood = more === "neither" ? null : moved > 0 === (more === "better");
  const tone = isGood === null ? "" : isGood ? " good" : " bad";
  const sign = h("span", { "aria-hidden": "true" }, moved > 0 ? "▲ " : "▼ ");
  const words = h("span", { class: "unseen" }, moved > 0 ? "up " : "down ");
  return [h("span", { class: `moved${tone}` }, sign, words, size), ` from ${before}`];
}

function absent(view, before) {
  const { previous, isComplete } = view.range;
  if (!isComplete) return "not compared: the range is not complete yet";
  if (before instanceof Failure) {
    return `not compared: the days before ${before.status === 422 ? "are not stored this way" : "were not loaded"}`;
  }
  if (!before.total_executions) return `no jobs in the ${days(previous.days)} before`;
  return "nothing to compare with";
}

function unlessRefused(failure) {
  if (failure instanceof Failure && failure.status !== 401) return failure;
  throw failure;
}

function spaced(parts) {
  return parts.flatMap((part, index) => (index ? [" · ", part] : [part]));
}

/** The range and the one it is compared with, in words. */
export function compared({ range, zone }) {
  const { first, last, previous } = range;
  const many = range.days === 1 ? "1 day" : `${days(range.days)}`;
  return [
    h("strong", {}, span(first, last)),
    ` · ${many} in ${zone}`,
    range.isComplete && ` · compared with ${span(previous.first, previous.last)}`,
  ];
}
