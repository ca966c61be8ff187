// Who the jobs were for and what started them: a list with bars, which is a table.

import { fill, h } from "./dom.js";
import { emptiness, Panel } from "./panel.js";
import { scrolling } from "./tables.js";
import { term } from "./terms.js";
import { approximately, sampleSize } from "./tiles.js";
import { filtersOf, requireAddedUp, within } from "./view.js";
import { count, duration, percent } from "./words.js";

const SHOWN = 10;

const KINDS = {
  client: {
    question: "clients",
    heading: "Client",
    idOf: (line) => (line.has_no_client ? "none" : line.client_id),
    nameOf: (line) => (line.has_no_client ? "No client" : line.name || `Unnamed client ${line.client_id.slice(0, 8)}`),
  },
  initiator: {
    question: "initiators",
    heading: "Initiator",
    idOf: (line) => line.initiator_type,
    nameOf: (line) => line.initiator_type,
  },
};

/** A breakdown by `client` or `initiator`. */
export function breakdown(root, dimension) {
  const { question, heading, idOf, nameOf } = KINDS[dimension];
  let isWhole = false;
  return new Panel(root, {
    keyOf: (view) => [within(view.range), filtersOf(view.state, dimension), view.version],
    load,
    draw,
  });

  async function load(view, signal) {
    isWhole = false;
    requireAddedUp(view, view.range, [...new Set([...view.dimensions, dimension])]);
    const asked = { ...within(view.range), ...filtersOf(view.state, dimension) };
    const { lines, isAll } = await view.api.all(question, question, asked, signal);
    view.named(dimension, lines.map((line) => ({ id: idOf(line), name: nameOf(line) })));
    return { lines: lines.filter((line) => line.total_executions), isAll };
  }

  function draw(view, { lines, isAll }, body) {
    if (!lines.length) {
      fill(body, emptiness("No job completed in this range."));
      return;
    }
    const sorted = [...lines].sort((one, other) => other.total_executions - one.total_executions);
    const shown = isWhole ? sorted : sorted.slice(0, SHOWN);
    const [most] = sorted;
    const labels = [heading, "Executions", "Success", term("Median", "median_duration_ms", view.definitions), "n"];
    const heads = labels.map((label, index) => h("th", { scope: "col", class: index ? "number" : null }, label));
    const rows = shown.map((line) => row(view, line, line.total_executions / most.total_executions));
    const more = h(
      "button",
      {
        type: "button",
        click: () => {
          isWhole = true;
          view.redraw();
        },
      },
      `Show all ${count(lines.length)}`,
    );
    fill(
      body,
      scrolling(
        `${heading}s`,
        h(
          "table",
          { class: "breakdown" },
          h("caption", { class: "unseen" }, `${heading}s`),
          h("thead", {}, h("tr", {}, heads)),
          h("tbody", {}, rows),
        ),
      ),
      h(
        "div",
        { class: "below" },
        shown.length < sorted.length && more,
        !isAll && h("p", { class: "note" }, `Only the first ${count(lines.length)} are listed.`),
      ),
    );
  }

  function row(view, line, share) {
    const id = idOf(line);
    const isChosen = view.state[dimension] === id;
    const bar = h("span", { class: "bar", "aria-hidden": "true" });
    bar.style.setProperty("--share", share);
    const name = h(
      "button",
      {
        type: "button",
        class: "choice",
        "aria-pressed": String(isChosen),
        title: isChosen ? "Show all" : `Show this ${dimension} alone`,
        click: () => view.go({ [dimension]: isChosen ? null : id }),
      },
      nameOf(line),
    );
    const cells = [
      count(line.total_executions),
      percent(line.success_rate_pct),
      approximately(line, duration(line.median_duration_ms)),
      sampleSize(line),
    ];
    return h(
      "tr",
      { class: isChosen ? "chosen" : null },
      h("th", { scope: "row" }, name, bar),
      cells.map((cell) => h("td", { class: "number" }, cell)),
    );
  }
}
