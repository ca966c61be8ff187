// Local days and the instants they begin at; a day is written 2024-01-31, an instant is milliseconds in UTC.

const DAY_MS = 86_400_000;

const formats = new Map();

/** Whether this browser knows the rules of the zone. */
export function knowsZone(zone) {
  try {
    return Boolean(formatOf(zone));
  } catch {
    return false;
  }
}

/** Day, hour, minute and weekday (0 is Monday) that the clocks of the zone show at an instant. */
export function localTime(instant, zone) {
  const parts = {};
  for (const { type, value } of formatOf(zone).formatToParts(instant)) parts[type] = value;
  const day = `${parts.year.padStart(4, "0")}-${parts.month}-${parts.day}`;
  return { day, hour: Number(parts.hour), minute: Number(parts.minute), weekday: weekdayOf(day) };
}

/** The local day that an instant is in. */
export function dayAt(instant, zone) {
  return localTime(instant, zone).day;
}

/**
 * The instant a local day begins at, as PostgreSQL has it: a midnight that the clocks skip is the moment
 * they are put forward, and of a midnight that comes twice it is the second.
 */
export function midnight(day, zone) {
  const asIfUtc = utc(day);
  const before = asIfUtc - offsetAt(asIfUtc - DAY_MS, zone);
  const after = asIfUtc - offsetAt(asIfUtc + DAY_MS, zone);
  const fitting = [before, after].filter((instant) => instant + offsetAt(instant, zone) === asIfUtc);
  return fitting.length ? Math.max(...fitting) : before;
}

/** The day so many days later, or earlier. */
export function addDays(day, many) {
  return written(utc(day) + many * DAY_MS);
}

/** How many days lie from one to the other. */
export function daysBetween(first, last) {
  return Math.round((utc(last) - utc(first)) / DAY_MS);
}

/** The Monday of its week. */
export function mondayOf(day) {
  return addDays(day, -weekdayOf(day));
}

/** The first day of its month, or of one so many months later. */
export function firstOfMonth(day, later = 0) {
  const [year, month] = day.split("-").map(Number);
  return written(Date.UTC(year, month - 1 + later, 1));
}

/** Whether a text is a day of the calendar. */
export function isDay(text) {
  return /^\d{4}-\d{2}-\d{2}$/.test(text ?? "") && !Number.isNaN(utc(text)) && written(utc(text)) === text;
}

/** A day as an instant that any formatter set to UTC shows as that day. */
export function utc(day) {
  return Date.parse(`${day}T00:00:00Z`);
}

function weekdayOf(day) {
  return (new Date(utc(day)).getUTCDay() + 6) % 7;
}

function written(instant) {
  return new Date(instant).toISOString().slice(0, 10);
}

function offsetAt(instant, zone) {
  const parts = {};
  for (const { type, value } of formatOf(zone).formatToParts(instant)) parts[type] = Number(value);
  const local = Date.UTC(parts.year, parts.month - 1, parts.day, parts.hour, parts.minute, parts.second);
  return local - Math.floor(instant / 1000) * 1000;
}

function formatOf(zone) {
  if (!formats.has(zone)) {
    const digits = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" };
    const options = { ...digits, second: "2-digit", hourCycle: "h23", calendar: "gregory", timeZone: zone };
    formats.set(zone, new Intl.DateTimeFormat("en-US", options));
  }
  return formats.get(zone);
}
