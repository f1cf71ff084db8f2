import { expect, test } from "vitest";
import { type Bar, column, fromLive, fromStored, rangesOf, Series } from "./bars";

const DAY = 86_400;
const bar = (time: number, change: Partial<Bar> = {}): Bar => ({
  time,
  open: 10,
  high: 12,
  low: 9,
  close: 11,
  volume: 5,
  state: "final",
  fetchedAt: 1,
  ...change,
});

test("a stored and a live bar of the same moment are the same bar", () => {
  const values = { open: 1, high: 2, low: 0.5, close: 1.5, volume: 7, state: "final" };
  const stored = fromStored({
    ...values,
    ts: "2013-03-01T00:00:00Z",
    fetched_at: "2013-03-02T00:00:00Z",
    provider: "p",
    currency: null,
  });
  const live = fromLive({
    ...values,
    provider: "p",
    symbol: "A",
    interval: "1d",
    time: Date.UTC(2013, 2, 1) / 1000,
    fetched_at: Date.UTC(2013, 2, 2),
  });
  expect(live).toEqual(stored);
});

test("a bar with a missing price is not drawn", () => {
  const half = { open: 1, high: null, low: 1, close: 1, volume: 1, state: "final" };
  expect(
    fromStored({
      ...half,
      ts: "2013-03-01T00:00:00Z",
      fetched_at: "2013-03-02T00:00:00Z",
      provider: "p",
      currency: null,
    }),
  ).toBeNull();
});

test("a late forming bar never takes the place of a final one", () => {
  const series = new Series();
  series.place(bar(DAY, { close: 11, state: "final", fetchedAt: 5 }));
  expect(series.place(bar(DAY, { close: 99, state: "forming", fetchedAt: 9 }))).toBe("ignored");
  expect(series.newest?.close).toBe(11);
});

test("a later record of the same rank wins, an earlier one does not", () => {
  const series = new Series();
  series.place(bar(DAY, { close: 1, state: "forming", fetchedAt: 5 }));
  expect(series.place(bar(DAY, { close: 2, state: "forming", fetchedAt: 6 }))).toBe("newest");
  expect(series.place(bar(DAY, { close: 3, state: "forming", fetchedAt: 4 }))).toBe("ignored");
  expect(series.newest?.close).toBe(2);
});

test("a final bar that comes after the next one has opened goes to its own place", () => {
  const series = new Series();
  series.place(bar(DAY, { state: "forming", volume: null }));
  series.place(bar(2 * DAY, { state: "forming" }));
  expect(series.place(bar(DAY, { state: "final", volume: 7 }))).toBe("older");
  expect(series.newest?.time).toBe(2 * DAY);
  expect(series.before(2 * DAY)?.volume).toBe(7);
  expect(series.sorted().map(({ time }) => time)).toEqual([DAY, 2 * DAY]);
});

test("volume takes the candle's colour, and an unknown volume none", () => {
  const colours = { up: "green", down: "red" };
  expect(column(bar(DAY), colours)).toMatchObject({ value: 5, color: "green" });
  expect(column(bar(DAY, { close: 9.5 }), colours)).toMatchObject({ color: "red" });
  expect(column(bar(DAY, { volume: null }), colours)).toEqual({ time: DAY });
});

test("every interval can show everything", () => {
  for (const interval of ["1m", "1h", "1d", "1mo"]) {
    expect(rangesOf(interval).at(-1)?.id).toBe("all");
  }
});
