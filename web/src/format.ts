/** Numbers and times for people: short, aligned, never wrong. */

import { isIntraday } from "./bars";

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** Decimals that show a price well: two, and more where it is below one. */
export function decimals(price: number): number {
  const size = Math.abs(price);
  if (size === 0 || size >= 1) return 2;
  return Math.min(8, 3 - Math.floor(Math.log10(size)));
}

export function price(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  const digits = decimals(value);
  return value.toLocaleString("en", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

/** 12,154 as it is, 1,234,567 as 1.2M. */
export function count(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) < 100_000 ? whole.format(value) : compact.format(value);
}

export function volume(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : compact.format(value);
}

export function rate(perSecond: number | null | undefined): string {
  if (perSecond === null || perSecond === undefined) return "–";
  return perSecond > 0 && perSecond < 10 ? `${perSecond.toFixed(1)}/s` : `${count(perSecond)}/s`;
}

/** The change from one price to another, with its sign; null where it cannot be told. */
export function percent(
  from: number | null | undefined,
  to: number | null | undefined,
): string | null {
  if (!from || to === null || to === undefined) return null;
  const change = (to / from - 1) * 100;
  const text = Math.abs(change).toFixed(2);
  if (text === "0.00") return "0.00%";
  return `${change < 0 ? "−" : "+"}${text}%`;
}

/** A duration in the largest unit that says enough: 0.4 s, 12 s, 3 min, 5 h, 2 d. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 10) return `${seconds.toFixed(seconds === 0 ? 0 : 1)} s`;
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** The day of a bar, and its minute or second where bars are as short as that; UTC, as stored. */
export function barTime(seconds: number, interval: string): string {
  const text = new Date(seconds * 1000).toISOString();
  if (!isIntraday(interval)) return text.slice(0, 10);
  return `${text.slice(0, 10)} ${text.slice(11, interval.endsWith("s") ? 19 : 16)} UTC`;
}
