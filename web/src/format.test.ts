import { expect, test } from "vitest";
import { barTime, count, decimals, duration, percent, price, rate } from "./format";

test("prices below one keep enough digits to move", () => {
  expect([430.47, 1, 0.5, 0.0123, 0].map(decimals)).toEqual([2, 2, 4, 5, 2]);
  expect(price(0.0123)).toBe("0.01230");
  expect(price(1234.5)).toBe("1,234.50");
});

test("what is not known is a dash, never zero", () => {
  expect([price(null), count(null), rate(null), duration(null)]).toEqual(["–", "–", "–", "–"]);
});

test("a change has its sign, and none where there is nothing to compare with", () => {
  expect(percent(100, 101)).toBe("+1.00%");
  expect(percent(100, 99)).toBe("−1.00%");
  expect(percent(100, 100.001)).toBe("0.00%");
  expect(percent(0, 1)).toBeNull();
  expect(percent(null, 1)).toBeNull();
});

test("counts are exact as long as they fit", () => {
  expect(count(12_154)).toBe("12,154");
  expect(count(50_000_000)).toBe("50M");
});

test("a slow rate is not rounded to nothing", () => {
  expect([0, 0.4, 42, 10_000].map(rate)).toEqual(["0/s", "0.4/s", "42/s", "10,000/s"]);
});

test("durations use the unit that says enough", () => {
  expect([0, 0.42, 12, 150, 8_000, 200_000].map(duration)).toEqual([
    "0 s",
    "0.4 s",
    "12 s",
    "2 min",
    "2 h",
    "2 d",
  ]);
});

test("a daily bar has a date, a shorter one a minute and its zone", () => {
  const seconds = Date.UTC(2013, 2, 1, 14, 30) / 1000;
  expect(barTime(seconds, "1d")).toBe("2013-03-01");
  expect(barTime(seconds, "1m")).toBe("2013-03-01 14:30 UTC");
  expect(barTime(seconds + 7, "1s")).toBe("2013-03-01 14:30:07 UTC");
});
