// Executions and durations over time: zero is drawn as zero, a gap as a gap, and what is not known yet is shaded.

import { drawChart, PLOT, styled, timeAxis, tooltip, valueAxis } from "./charts.js";
import { dayAt } from "./days.js";
import { fill, h } from "./dom.js";
import { emptiness, Panel } from "./panel.js";
import { bucketsOf, countOf, keyOf, MOST_BUCKETS } from "./ranges.js";
import { isTable } from "./state.js";
import { table } from "./tables.js";
import { filtersOf, requireStored, within } from "./view.js";
import {
  clock,
  count,
  duration,
  FEW,
  longDay,
  moment,
  month,
  NOTHING,
  percent,
  roundDuration,
  roundedDuration,
  shortCount,
  shortDay,
} from "./words.js";

const MEASURES = {
  executions: ["total_executions", "completed_executions", "failed_executions", "success_rate_pct"],
  durations: ["timed_executions", "median_duration_ms", "p95_duration_ms"],
};

// Points of longer lines are drawn only where they mean something.
const POINTS_UP_TO = 45;

// Two plots, one above the other, whose days are in line whatever their labels.
const STACKED = { left: 56, right: 6 };
const HEADING = { fontSize: 12.5, fontWeight: 600 };

/** Executions over time, completed and failed. */
export function executions(root) {
  return new Panel(root, { keyOf: keyOfSeries, load, draw: drawExecutions });
}

/** Median and p95 over time. */
export function durations(root) {
  return new Panel(root, { keyOf: keyOfSeries, load, draw: drawDurations });
}

/** What the CSV of a panel asks for. */
export function seriesParameters(view, panel) {
  const buckets = bucketsOf(view.period, view.range, view.zone, view.completeThrough);
  // A bucket of whole days is named by its days, an hour by its instant.
  const written = (instant) => (view.period === "hour" ? new Date(instant) : dayAt(instant, view.zone));
  const asked = { since: written(buckets[0].start), until: written(buckets.at(-1).end), period: view.period };
  return { ...asked, ...filtersOf(view.state), measures: MEASURES[panel].join() };
}

function keyOfSeries(view) {
  return [within(view.range), view.period, filtersOf(view.state), view.version];
}

// Both panels show the same rows, which are asked for once.
let shared = { key: null };

function load(view) {
  const key = JSON.stringify(keyOfSeries(view));
  if (shared.key !== key || shared.hasFailed) {
    shared.controller?.abort();
    const controller = new AbortController();
    shared = { key, controller, answer: buckets(view, controller.signal) };
    const mine = shared;
    mine.answer.catch(() => (mine.hasFailed = true));
  }
  return shared.answer;
}

async function buckets(view, signal) {
  requireStored(view, view.period);
  if (countOf(view.period, view.range) > MOST_BUCKETS * 2) return [];
  const found = bucketsOf(view.period, view.range, view.zone, view.completeThrough);
  const { since, until } = seriesParameters(view, "executions");
  const measures = [...MEASURES.executions, ...MEASURES.durations].join();
  const asked = { since, until, period: view.period, ...filtersOf(view.state), measures };
  const { lines } = await view.api.all("metrics", "rows", asked, signal);
  const rows = new Map(lines.map((row) => [keyOf(view.period, Date.parse(row.period_start), view.zone), row]));
  return found.map((bucket) => ({ ...bucket, row: rows.get(bucket.key) ?? null }));
}

function drawExecutions(view, found, body) {
  const drawn = frame(view, found, body, "executions");
  if (!drawn) return;
  const known = found.map((bucket) => (isUnknown(bucket) ? null : valueOf(bucket, "total_executions")));
  const total = known.reduce((sum, value) => sum + (value ?? 0), 0);
  const bars = (measure, colour) => ({
    type: "bar",
    stack: "jobs",
    barCategoryGap: found.length > 60 ? "12%" : "28%",
    barMaxWidth: 26,
    itemStyle: { color: styled(colour) },
    emphasis: { disabled: true },
    data: found.map((bucket) => (isUnknown(bucket) ? null : valueOf(bucket, measure))),
  });
  drawChart(drawn, `Executions by ${view.period}: ${count(total)} in all. The same figures are in the table.`, {
    grid: PLOT,
    tooltip: tooltip(([{ dataIndex }]) => saidOfExecutions(view, found[dataIndex]), { trigger: "axis" }),
    xAxis: timeAxis(labels(view, found)),
    yAxis: valueAxis(shortCount, { minInterval: 1 }),
    series: [bars("completed_executions", "completed"), bars("failed_executions", "failed"), shade(found)],
  });
}

function drawDurations(view, found, body) {
  const drawn = frame(view, found, body, "durations");
  if (!drawn) return;
  const line = (index, measure, colour) => ({
    type: "line",
    xAxisIndex: index,
    yAxisIndex: index,
    showAllSymbol: true,
    lineStyle: { color: styled(colour), width: 1.75 },
    emphasis: { disabled: true },
    data: found.map((bucket, place) => point(found, place, measure, styled(colour))),
  });
  const title = (text, top, colour) => ({ text, top, left: 0, padding: 0, textStyle: textStyle(colour) });
  const textStyle = (colour) => ({ ...HEADING, color: styled(colour), fontFamily: styled("font") });
  const axis = (index, options) => timeAxis(labels(view, found), { gridIndex: index, ...options });
  const values = (index, measure) => {
    const most = Math.max(1, ...found.map((bucket) => bucket.row?.[measure] ?? 0));
    const interval = roundDuration(most / 3);
    const max = Math.ceil(most / interval) * interval;
    return valueAxis(roundedDuration, { gridIndex: index, interval, max });
  };
  const said = `Median and p95 duration by ${view.period}. The same figures are in the table.`;
  drawChart(drawn, said, {
    title: [title("Median", 0, "median"), title("p95", "49%", "p95")],
    grid: [
      { ...STACKED, top: 26, height: "31%" },
      { ...STACKED, top: "60%", bottom: 26 },
    ],
    axisPointer: { link: [{ xAxisIndex: "all" }] },
    tooltip: tooltip(([{ dataIndex }]) => saidOfDurations(view, found[dataIndex]), { trigger: "axis" }),
    xAxis: [axis(0, { axisLabel: { show: false } }), axis(1)],
    yAxis: [values(0, "median_duration_ms"), values(1, "p95_duration_ms")],
    series: [
      line(0, "median_duration_ms", "median"),
      line(1, "p95_duration_ms", "p95"),
      shade(found, 0),
      shade(found, 1),
    ],
  });
}

/** The place of a chart with its legend and notes, or its table; null when there is no chart to draw. */
function frame(view, found, body, panel) {
  if (!found.length) {
    const choice = "Choose a longer period or fewer days.";
    fill(body, emptiness(`By ${view.period} this range has too many points to draw. ${choice}`));
    return null;
  }
  if (found.every((bucket) => bucket.row === null)) {
    fill(body, emptiness(isUnknown(found[0]) ? "Not complete yet." : "No job completed in this range."));
    return null;
  }
  const notes = [...edges(view, found), ...unknowns(view, found)].map((text) => h("p", { class: "note" }, text));
  if (isTable(view.state, panel)) {
    fill(body, panel === "executions" ? tableOfExecutions(view, found) : tableOfDurations(view, found), notes);
    return null;
  }
  const kept = body.querySelector(".chart");
  const chart = kept ?? h("div", { class: `chart chart-${panel}` });
  const legend = { executions: legendOfExecutions, durations: legendOfDurations }[panel](found);
  if (kept) {
    body.querySelector(".legend").replaceWith(legend);
    body.querySelectorAll(".note").forEach((note) => note.remove());
    body.append(...notes);
  } else {
    fill(body, legend, chart, notes);
  }
  return chart;
}

function legendOfExecutions(found) {
  return h("p", { class: "legend" }, key("completed", "completed"), key("failed", "failed"), shadeKey(found));
}

function legendOfDurations(found) {
  const some = found.some((bucket) => isFew(bucket));
  return h(
    "p",
    { class: "legend" },
    some && h("span", { class: "key" }, h("i", { class: "swatch hollow" }), `few: n < ${FEW}`),
    shadeKey(found),
  );
}

function key(colour, text) {
  return h("span", { class: "key" }, h("i", { class: `swatch ${colour}` }), text);
}

function shadeKey(found) {
  return (
    found.some((bucket) => bucket.completeness !== "complete") &&
    h("span", { class: "key" }, h("i", { class: "swatch shade" }), "not complete yet")
  );
}

function tableOfExecutions(view, found) {
  const cells = (bucket) =>
    isUnknown(bucket)
      ? ["not known yet", NOTHING, NOTHING, NOTHING]
      : [
          count(valueOf(bucket, "total_executions")),
          count(valueOf(bucket, "completed_executions")),
          count(valueOf(bucket, "failed_executions")),
          percent(bucket.row?.success_rate_pct ?? null),
        ];
  return table({
    caption: `Executions by ${view.period}`,
    columns: [heading(view.period), "Executions", "Completed", "Failed", "Success rate"],
    rows: found.map((bucket) => [headed(view, bucket), ...cells(bucket)]),
  });
}

function tableOfDurations(view, found) {
  const cells = ({ row }) => [
    duration(row?.median_duration_ms ?? null),
    duration(row?.p95_duration_ms ?? null),
    count(row?.timed_executions ?? 0),
  ];
  return table({
    caption: `Median and p95 duration by ${view.period}`,
    columns: [heading(view.period), "Median", "p95", "n", "Note"],
    rows: found.map((bucket) => [
      headed(view, bucket),
      ...(isUnknown(bucket) ? [NOTHING, NOTHING, NOTHING, "not known yet"] : [...cells(bucket), noteOf(bucket)]),
    ]),
  });
}

function noteOf(bucket) {
  if (bucket.row === null) return "no jobs";
  if (!bucket.row.timed_executions) return "none timed";
  return isFew(bucket) ? `few: n < ${FEW}` : "";
}

function saidOfExecutions(view, bucket) {
  const title = named(view, bucket);
  if (isUnknown(bucket)) return `${title}\nnot known yet`;
  const { row } = bucket;
  const lines = [`${count(valueOf(bucket, "completed_executions"))} completed`];
  lines.push(`${count(valueOf(bucket, "failed_executions"))} failed`);
  lines.push(row ? `${percent(row.success_rate_pct)} succeeded` : "no jobs");
  if (bucket.completeness === "so far") lines.push("so far: not complete yet");
  return [title, ...lines].join("\n");
}

function saidOfDurations(view, bucket) {
  const title = named(view, bucket);
  if (isUnknown(bucket)) return `${title}\nnot known yet`;
  const { row } = bucket;
  if (!row?.timed_executions) return `${title}\n${noteOf(bucket)}`;
  const lines = [`median ${duration(row.median_duration_ms)}`, `p95 ${duration(row.p95_duration_ms)}`];
  lines.push(`n = ${count(row.timed_executions)}${isFew(bucket) ? `, few: n < ${FEW}` : ""}`);
  if (bucket.completeness === "so far") lines.push("so far: not complete yet");
  return [title, ...lines].join("\n");
}

function point(found, place, measure, colour) {
  const bucket = found[place];
  const value = bucket.row?.[measure] ?? null;
  const isAlone = [place - 1, place + 1].every((next) => (found[next]?.row?.[measure] ?? null) === null);
  const isSeen = isFew(bucket) || isAlone || found.length <= POINTS_UP_TO;
  const inside = isFew(bucket) ? styled("panel") : colour;
  return {
    value,
    symbol: isSeen ? "circle" : "none",
    symbolSize: isFew(bucket) ? 7 : 5,
    itemStyle: { color: inside, borderColor: colour, borderWidth: 1.5 },
  };
}

// From the first bucket that is not complete to the end, as high as the chart and behind everything else.
function shade(found, grid = 0) {
  const first = found.findIndex((bucket) => bucket.completeness !== "complete");
  return {
    type: "custom",
    xAxisIndex: grid,
    yAxisIndex: grid,
    silent: true,
    z: 0,
    tooltip: { show: false },
    data: first < 0 ? [] : [[first, 0]],
    renderItem: ({ coordSys }, api) => {
      const [middle] = api.coord([first, 0]);
      const x = middle - api.size([1, 0])[0] / 2;
      const shape = { x, y: coordSys.y, width: coordSys.x + coordSys.width - x, height: coordSys.height };
      return { type: "rect", shape, style: { fill: styled("shade") } };
    },
  };
}

function labels(view, found) {
  return found.map((bucket) => {
    const day = dayAt(bucket.start, view.zone);
    if (view.period === "month") return month(day);
    if (view.period !== "hour") return shortDay(day);
    const time = clock(bucket.start, view.zone);
    return time < "01:00" ? shortDay(day) : time;
  });
}

function named({ period, zone }, bucket) {
  const day = dayAt(bucket.start, zone);
  if (period === "hour") return `${longDay(day)}, ${clock(bucket.start, zone)}`;
  if (period === "day") return longDay(day);
  return period === "week" ? `week from ${longDay(day)}` : month(day);
}

function headed(view, bucket) {
  const isUnderWay = bucket.completeness === "so far";
  return isUnderWay ? `${named(view, bucket)} (so far)` : named(view, bucket);
}

function heading(period) {
  return period[0].toUpperCase() + period.slice(1);
}

function edges({ period, zone }, found) {
  const first = found[0].beginsBefore && `the first begins ${momentOf(found[0].start)}, before the range`;
  const after = first ? "it" : "the range";
  const last = found.at(-1).endsAfter && `the last ends ${momentOf(found.at(-1).end)}, after ${after}`;
  if (!first && !last) return [];
  const what = { hour: "Hours are those of UTC", week: "Weeks are shown whole", month: "Months are shown whole" };
  const ends = [first, last].filter(Boolean).join(", and ");
  return [`${what[period]}: ${ends}. The figures above count the range alone.`];

  function momentOf(instant) {
    if (period === "hour") return `at ${clock(instant, zone)}`;
    return `on ${longDay(dayAt(instant, zone))}`;
  }
}

function unknowns({ completeThrough, zone }, found) {
  if (found.every((bucket) => bucket.completeness === "complete")) return [];
  return [`Complete through ${moment(completeThrough, zone)}: what is shaded is not, or not wholly, known yet.`];
}

function isUnknown(bucket) {
  return bucket.completeness === "unknown" && bucket.row === null;
}

function isFew({ row }) {
  return Boolean(row) && row.timed_executions > 0 && row.timed_executions < FEW;
}

function valueOf(bucket, measure) {
  return bucket.row?.[measure] ?? 0;
}
