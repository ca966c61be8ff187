// Charts in the page's own colours; every one has its words in a label, and the same figures as a table.

import * as echarts from "./vendor/echarts/echarts.esm.min.js";

const quiet = matchMedia("(prefers-reduced-motion: reduce)");

/** Where the plot of a chart lies: as far out as its labels allow. */
export const PLOT = { left: 2, right: 6, top: 12, bottom: 2, outerBoundsMode: "same", outerBoundsContain: "axisLabel" };

/** A colour or font of the style sheet, as it is now. */
export function styled(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Draw a chart into an element of the page, in place of the one it had. */
export function drawChart(node, description, option) {
  const chart = echarts.getInstanceByDom(node) ?? echarts.init(node, null, { renderer: "svg" });
  chart.setOption(
    {
      animation: !quiet.matches,
      animationDuration: 200,
      aria: { enabled: true, label: { description } },
      textStyle: { fontFamily: styled("font"), color: styled("muted") },
      ...option,
    },
    { notMerge: true },
  );
  sizes.observe(node);
}

/** A tooltip that the page's content security policy lets be: drawn, not written in HTML. */
export function tooltip(formatter, options = {}) {
  return {
    renderMode: "richText",
    confine: true,
    padding: [8, 12],
    borderWidth: 1,
    borderColor: styled("line-strong"),
    backgroundColor: styled("raised"),
    textStyle: { color: styled("ink") },
    formatter,
    ...options,
  };
}

/** An axis of times, with a label wherever there is room. */
export function timeAxis(labels, options = {}) {
  return {
    type: "category",
    data: labels,
    axisTick: { show: false },
    axisLine: { lineStyle: { color: styled("line-strong") } },
    axisLabel: { color: styled("muted"), fontSize: 11, hideOverlap: true, margin: 10 },
    ...options,
  };
}

/** An axis of values from zero on, with few and faint lines. */
export function valueAxis(formatter, options = {}) {
  return {
    type: "value",
    min: 0,
    splitNumber: 4,
    axisLabel: { color: styled("muted"), fontSize: 11, formatter },
    splitLine: { lineStyle: { color: styled("line") } },
    ...options,
  };
}

const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const chart = echarts.getInstanceByDom(target);
    if (!target.isConnected) {
      sizes.unobserve(target);
      chart?.dispose();
    } else if (target.clientWidth) {
      chart?.resize();
    }
  }
});
