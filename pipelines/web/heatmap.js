// When in the week jobs complete, and when they fail: hours added up by the organization's own clocks.

import { MOST_PAGES, PAGE } from "./api.js";
import { drawChart, PLOT, styled, tooltip } from "./charts.js";
import { localTime } from "./days.js";
import { fill, h } from "./dom.js";
import { emptiness, Panel } from "./panel.js";
import { hourOfWeek } from "./ranges.js";
import { isTable } from "./state.js";
import { table } from "./tables.js";
import { filtersOf, requireStored, within } from "./view.js";
import { count, days, FEW, jobs, NOTHING, percent } from "./words.js";

const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const HOURS = Array.from({ length: 24 }, (_, hour) => String(hour).padStart(2, "0"));
const MOST_DAYS = Math.floor((MOST_PAGES * PAGE) / 24);

// A rate of a few jobs is seen, and does not stand out.
const FAINT = 0.4;

/** The heatmap. */
export function heatmap(root) {
  return new Panel(root, {
    keyOf: (view) => [within(view.range), filtersOf(view.state), view.version],
    load,
    draw,
  });
}

async function load(view, signal) {
  const { api, range, state, zone } = view;
  if (range.days > MOST_DAYS) return null;
  requireStored(view, "hour");
  const asked = { ...within(range), ...filtersOf(state), period: "hour" };
  const measures = "total_executions,completed_executions";
  const { lines } = await api.all("metrics", "rows", { ...asked, measures }, signal);
  const cells = Array.from({ length: 7 * 24 }, () => ({ total: 0, completed: 0 }));
  for (const row of lines) {
    const cell = cells[hourOfWeek(Date.parse(row.period_start), zone)];
    cell.total += row.total_executions;
    cell.completed += row.completed_executions;
  }
  return cells;
}

function draw(view, cells, body) {
  if (cells === null) {
    fill(body, emptiness(`The hours of the week are added up for ranges of up to ${days(MOST_DAYS)}.`));
    return;
  }
  if (cells.every((cell) => !cell.total)) {
    fill(body, emptiness("No job completed in this range."));
    return;
  }
  const isRate = view.state.heat === "success";
  const said = [summed(cells, isRate), halfHour(view)].filter(Boolean);
  const notes = said.map((text) => h("p", { class: "note" }, text));
  if (isTable(view.state, "hours")) {
    fill(body, asTable(cells, isRate), notes);
    return;
  }
  const chart = body.querySelector(".chart") ?? h("div", { class: "chart chart-hours" });
  body.querySelectorAll(":scope > :not(.chart)").forEach((node) => node.remove());
  body.prepend(legend(cells, isRate));
  if (!chart.isConnected) body.append(chart);
  body.append(...notes);
  const value = isRate ? rateOf : (cell) => cell.total;
  const values = cells.filter((cell) => cell.total).map(value);
  const [pale, full] = [styled("heat-none"), styled(isRate ? "heat-failed" : "heat-many")];
  drawChart(chart, `${summed(cells, isRate)} The same figures are in the table.`, {
    grid: { ...PLOT, top: 4 },
    tooltip: tooltip(({ data: { value: at } }) => hovered(cells, at[1], at[0]), { trigger: "item" }),
    xAxis: { ...axis(HOURS), axisLabel: { ...axis().axisLabel, interval: 2 } },
    yAxis: { ...axis(WEEKDAYS), inverse: true },
    visualMap: {
      show: false,
      min: isRate ? Math.min(99, ...values) : 0,
      max: isRate ? 100 : Math.max(...values),
      inRange: { color: isRate ? [full, pale] : [pale, full] },
    },
    series: [
      {
        type: "heatmap",
        data: cells.map((cell, index) => square(cell, index, value, isRate)),
        itemStyle: { borderColor: styled("panel"), borderWidth: 2, borderRadius: 4 },
        emphasis: { itemStyle: { borderColor: styled("ink"), borderWidth: 1.5 } },
      },
    ],
  });
}

function axis(data = []) {
  return {
    type: "category",
    data,
    axisTick: { show: false },
    axisLine: { show: false },
    axisLabel: { color: styled("muted"), fontSize: 11 },
  };
}

function square(cell, index, value, isRate) {
  const place = [index % 24, Math.floor(index / 24)];
  if (!cell.total) return { value: [...place, 0], visualMap: false, itemStyle: { color: styled("heat-empty") } };
  return { value: [...place, value(cell)], itemStyle: { opacity: isRate && cell.total < FEW ? FAINT : 1 } };
}

function legend(cells, isRate) {
  const most = Math.max(...cells.map((cell) => cell.total));
  const least = Math.min(99, ...cells.filter((cell) => cell.total).map(rateOf));
  const [from, to] = isRate ? ["100 % succeeded", percent(least)] : ["few jobs", count(most)];
  const scale = h("i", { class: `scale ${isRate ? "failed" : "many"}` });
  const some = isRate && cells.some((cell) => cell.total > 0 && cell.total < FEW);
  return h(
    "p",
    { class: "legend" },
    h("span", { class: "key" }, from, scale, to),
    some && h("span", { class: "key" }, `faint: few, n < ${FEW}`),
  );
}

function summed(cells, isRate) {
  const busy = cells.map((cell, index) => ({ ...cell, index })).filter((cell) => cell.total);
  if (!isRate) {
    const most = busy.reduce((best, cell) => (cell.total > best.total ? cell : best));
    return `Most jobs complete on ${named(most.index)}: ${count(most.total)}.`;
  }
  const enough = busy.filter((cell) => cell.total >= FEW);
  if (!enough.length) return `No hour of the week has ${FEW} jobs or more.`;
  const worst = enough.reduce((best, cell) => (rateOf(cell) < rateOf(best) ? cell : best));
  const least = `${percent(rateOf(worst))} of ${count(worst.total)}`;
  return `Of the hours with ${FEW} jobs or more, ${named(worst.index)} succeeds least: ${least}.`;
}

function asTable(cells, isRate) {
  const rate = (cell) => (cell.total ? `${percent(rateOf(cell))}${cell.total < FEW ? "*" : ""}` : NOTHING);
  const text = isRate ? rate : (cell) => count(cell.total);
  return [
    table({
      caption: isRate ? "Success rate by hour of the week" : "Executions by hour of the week",
      columns: ["Day", ...HOURS],
      rows: WEEKDAYS.map((day, index) => [day, ...cells.slice(index * 24, index * 24 + 24).map(text)]),
    }),
    isRate && h("p", { class: "note" }, `* of fewer than ${FEW} jobs.`),
  ];
}

function hovered(cells, weekday, hour) {
  const cell = cells[weekday * 24 + hour];
  if (!cell.total) return `${named(weekday * 24 + hour)}\nno jobs`;
  const lines = [jobs(cell.total), `${percent(rateOf(cell))} succeeded`];
  if (cell.total < FEW) lines.push(`few: n < ${FEW}`);
  return [named(weekday * 24 + hour), ...lines].join("\n");
}

function named(index) {
  const hour = index % 24;
  return `${WEEKDAYS[Math.floor(index / 24)]} ${HOURS[hour]}:00 to ${String(hour + 1).padStart(2, "0")}:00`;
}

function halfHour({ range, zone }) {
  const { minute } = localTime(Math.ceil(range.since / 3_600_000) * 3_600_000, zone);
  if (!minute) return null;
  return `Stored hours are those of UTC and begin ${minute} minutes past the hour here; each counts where it begins.`;
}

function rateOf(cell) {
  return (100 * cell.completed) / cell.total;
}
