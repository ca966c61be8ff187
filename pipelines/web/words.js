// Figures and times as people read them; each says nothing more exact than it is.

import { utc } from "./days.js";

// A percentile of fewer timed jobs moves far when one more job ends.
export const FEW = 20;

export const NOTHING = "–";

// A figure and its unit stay on one line.
const SPACE = "\u00a0";

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const oneDigit = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const shortNumber = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** 70,855 */
export function count(value) {
  return value === null ? NOTHING : number.format(value);
}

/** 71K, where there is no room. */
export function shortCount(value) {
  return shortNumber.format(value);
}

/** 96.5 %; only a rate of exactly 100 is called so. */
export function percent(value) {
  if (value === null) return NOTHING;
  const text = oneDigit.format(value);
  if (text === "100.0") return value === 100 ? `100${SPACE}%` : `99.9${SPACE}%`;
  if (text === "0.0") return value === 0 ? `0${SPACE}%` : `< 0.1${SPACE}%`;
  return `${text}${SPACE}%`;
}

/** 850 ms, 14.2 s, 5 min 55 s, 3 h 12 min, 4 d 6 h */
export function duration(ms) {
  if (ms === null) return NOTHING;
  if (ms < 10 && ms % 1) return `${oneDigit.format(ms)}${SPACE}ms`;
  if (Math.round(ms) < 1000) return `${Math.round(ms)}${SPACE}ms`;
  if (Math.round(ms / 100) < 600) return `${oneDigit.format(ms / 1000)}${SPACE}s`;
  if (Math.round(ms / 1000) < 3600) return two(Math.round(ms / 1000), 60, "min", "s");
  if (Math.round(ms / 60_000) < 48 * 60) return two(Math.round(ms / 60_000), 60, "h", "min");
  return two(Math.round(ms / 3_600_000), 24, "d", "h");
}

// What people count durations in, in milliseconds.
const ROUND = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((seconds) => seconds * 1000),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * 60_000),
  ...[1, 2, 3, 6, 12].map((hours) => hours * 3_600_000),
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500].map((days) => days * 86_400_000),
];

/** The next longer round duration, for the lines of an axis. */
export function roundDuration(ms) {
  return ROUND.find((each) => each >= ms) ?? ms;
}

/** 10 s, as an axis says it */
export function roundedDuration(ms) {
  return ms === 0 ? "0" : duration(ms).replace(`.0${SPACE}`, SPACE);
}

/** 1 job, 12 jobs */
export function jobs(many) {
  return `${count(many)} ${many === 1 ? "job" : "jobs"}`;
}

/** 1 day, 30 days */
export function days(many) {
  return `${count(many)} ${many === 1 ? "day" : "days"}`;
}

/** Tue 4 Jun 2024 */
export function longDay(day) {
  return dated(day, { weekday: "short", day: "numeric", month: "short", year: "numeric" });
}

/** 4 Jun 2024 */
export function plainDay(day) {
  return dated(day, { day: "numeric", month: "short", year: "numeric" });
}

/** 4 Jun */
export function shortDay(day) {
  return dated(day, { day: "numeric", month: "short" });
}

/** Jun 2024 */
export function month(day) {
  return dated(day, { month: "short", year: "numeric" });
}

/** 1 – 30 Jun 2024 */
export function span(first, last) {
  const format = formatted({ day: "numeric", month: "short", year: "numeric" }, "UTC");
  return format.formatRange(utc(first), utc(last));
}

/** Fri 27 Nov 2026, 14:05 CET */
export function moment(instant, zone) {
  const time = formatted({ hour: "2-digit", minute: "2-digit" }, zone).format(instant);
  const date = { weekday: "short", day: "numeric", month: "short", year: "numeric" };
  return `${formatted(date, zone).format(instant).replace(",", "")}, ${time} ${zoneName(instant, zone)}`;
}

/** 14:00 */
export function clock(instant, zone) {
  return formatted({ hour: "2-digit", minute: "2-digit" }, zone).format(instant);
}

/** How far an estimate may be off, as a whole percent. */
export function within(relativeError) {
  return `${Math.ceil(relativeError * 100)}${SPACE}%`;
}

// Each English knows the short names of its own side of the ocean.
function zoneName(instant, zone) {
  const names = ["en-GB", "en-US"].map((locale) => {
    const parts = new Intl.DateTimeFormat(locale, { timeZone: zone, timeZoneName: "short" }).formatToParts(instant);
    return parts.find(({ type }) => type === "timeZoneName").value;
  });
  return names.find((name) => !/^(GMT|UTC)[+-]/.test(name)) ?? names[0];
}

function two(many, each, big, small) {
  const rest = many % each;
  const whole = `${number.format(Math.floor(many / each))}${SPACE}${big}`;
  return rest ? `${whole}${SPACE}${rest}${SPACE}${small}` : whole;
}

function dated(day, options) {
  return formatted(options, "UTC").format(utc(day)).replace(",", "");
}

const made = new Map();

function formatted(options, zone) {
  const key = JSON.stringify([options, zone]);
  if (!made.has(key)) {
    made.set(key, new Intl.DateTimeFormat("en-GB", { ...options, hourCycle: "h23", timeZone: zone }));
  }
  return made.get(key);
}
