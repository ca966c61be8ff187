// Which days are looked at, with which they are compared, and the buckets they are drawn in.

import { addDays, dayAt, daysBetween, firstOfMonth, isDay, localTime, midnight, mondayOf } from "./days.js";

const HOUR_MS = 3_600_000;

export const ROLLING = { "7d": 7, "30d": 30, "90d": 90 };
export const RANGES = [...Object.keys(ROLLING), "this-month", "last-month", "custom"];
export const PERIODS = ["hour", "day", "week", "month"];

// Up to so many days a period is chosen by itself; longer ranges are drawn by months.
const CHOSEN_UP_TO_DAYS = { hour: 3, day: 92, week: 731 };

// More bars than a screen has room for, and one page of the API.
export const MOST_BUCKETS = 1000;

/** The days of a choice; but for chosen dates, they end with the last day that is complete. */
export function rangeOf(state, completeThrough, zone) {
  const today = dayAt(completeThrough, zone);
  const days = daysOf(state, today);
  const [first, end] = days;
  const many = daysBetween(first, end);
  const range = spanOf(first, end, zone);
  return {
    ...range,
    previous: spanOf(addDays(first, -many), first, zone),
    isComplete: range.until <= completeThrough,
  };
}

/** How many filters are set: every one is a dimension of what must be stored. */
export function dimensionsOf(state) {
  return ["workflow", "client", "initiator"].filter((name) => state[name] !== null);
}

/** Whether rows of a period are stored that are broken down by exactly these dimensions. */
export function isStored(definitions, period, dimensions) {
  const columns = { workflow: "workflow_id", client: "client_id", initiator: "initiator_type" };
  const wanted = dimensions.map((name) => columns[name]).sort().join();
  const found = definitions.periods.find((each) => each.name === period);
  return Boolean(found?.broken_down_by.some((each) => [...each].sort().join() === wanted));
}

/** Whether a range of whole days can be added up from what is stored for exactly these dimensions. */
export function isAddedUp(definitions, range, dimensions) {
  if (isStored(definitions, "hour", dimensions) || isStored(definitions, "day", dimensions)) return true;
  const steps = [
    { period: "week", start: mondayOf, next: (day) => addDays(day, 7) },
    { period: "month", start: firstOfMonth, next: (day) => firstOfMonth(day, 1) },
  ].filter(({ period }) => isStored(definitions, period, dimensions));
  const reached = new Set([range.first]);
  // Days that are added while the set is walked through are walked through, too.
  for (const day of reached) {
    for (const { start, next } of steps) {
      if (start(day) === day && next(day) <= range.end) reached.add(next(day));
    }
  }
  return reached.has(range.end);
}

/** The period that suits a range: the finest that is stored and does not crowd the chart. */
export function automaticPeriod(definitions, range, dimensions) {
  const suiting = PERIODS.filter((period) => range.days <= (CHOSEN_UP_TO_DAYS[period] ?? Infinity));
  return suiting.find((period) => isStored(definitions, period, dimensions)) ?? suiting[0];
}

/** How many buckets of a period a range has, about. */
export function countOf(period, range) {
  return Math.ceil({ hour: range.days * 24, day: range.days, week: range.days / 7, month: range.days / 28 }[period]);
}

/** The buckets that a range touches, whole ones: weeks and months may begin before it and end after it. */
export function bucketsOf(period, range, zone, completeThrough) {
  const starts = period === "hour" ? hoursOf(range) : startsOf(period, range, zone);
  return starts.slice(0, -1).map((start, index) => {
    const end = starts[index + 1];
    return {
      start,
      end,
      key: keyOf(period, start, zone),
      beginsBefore: start < range.since,
      endsAfter: end > range.until,
      completeness: end <= completeThrough ? "complete" : start < completeThrough ? "so far" : "unknown",
    };
  });
}

/** By what a row is found again: zones of two machines may disagree about minutes, never about days. */
export function keyOf(period, start, zone) {
  return period === "hour" ? String(start) : dayAt(start, zone);
}

/** The hour of the week (0 is Monday's first) that an hour begins in. */
export function hourOfWeek(start, zone) {
  const { weekday, hour } = localTime(start, zone);
  return weekday * 24 + hour;
}

function daysOf(state, today) {
  if (state.range === "custom" && isDay(state.from) && isDay(state.to) && state.from <= state.to) {
    return [state.from, addDays(state.to, 1)];
  }
  if (state.range === "this-month") return [firstOfMonth(today), today];
  if (state.range === "last-month") return [firstOfMonth(today, -1), firstOfMonth(today)];
  return [addDays(today, -(ROLLING[state.range] ?? ROLLING["30d"])), today];
}

function spanOf(first, end, zone) {
  return {
    first,
    end,
    last: addDays(end, -1),
    days: daysBetween(first, end),
    since: midnight(first, zone),
    until: midnight(end, zone),
  };
}

function startsOf(period, range, zone) {
  const following = {
    day: (day) => addDays(day, 1),
    week: (day) => addDays(day, 7),
    month: (day) => firstOfMonth(day, 1),
  }[period];
  const days = [{ day: range.first, week: mondayOf(range.first), month: firstOfMonth(range.first) }[period]];
  while (days.at(-1) < range.end) days.push(following(days.at(-1)));
  return days.map((day) => midnight(day, zone));
}

function hoursOf(range) {
  const starts = [Math.floor(range.since / HOUR_MS) * HOUR_MS];
  while (starts.at(-1) < range.until) starts.push(starts.at(-1) + HOUR_MS);
  return starts;
}
