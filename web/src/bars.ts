/** Bars of one series: what the server sent, kept in order, newest state of each. */

import type {
  CandlestickData,
  HistogramData,
  UTCTimestamp,
  WhitespaceData,
} from "lightweight-charts";

/** A bar of `/chart/{symbol}.json`. */
export interface StoredBar {
  ts: string;
  open: number | null;
  high: number | null;
  low: number | null;
  close: number | null;
  volume: number | null;
  state: string;
  provider: string;
  currency: string | null;
  fetched_at: string;
}

/** A bar of `/api/stream`. */
export interface LiveBar {
  provider: string;
  symbol: string;
  interval: string;
  time: number;
  open: number | null;
  high: number | null;
  low: number | null;
  close: number | null;
  volume: number | null;
  state: string;
  fetched_at: number;
}

/** What a chart draws. */
export interface Bar {
  /** Start of the bar, seconds since 1970. */
  time: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number | null;
  state: string;
  /** Milliseconds since 1970. */
  fetchedAt: number;
}

const RANK: Record<string, number> = { forming: 0, provisional: 1, final: 2, revised: 2 };

function known(
  time: number,
  fetchedAt: number,
  {
    open,
    high,
    low,
    close,
    volume,
    state,
  }: Pick<StoredBar, "open" | "high" | "low" | "close" | "volume" | "state">,
): Bar | null {
  if (open === null || high === null || low === null || close === null) return null;
  return { time, open, high, low, close, volume, state, fetchedAt };
}

/** Null for a bar with a missing price: a chart cannot draw half a candle. */
export function fromStored(bar: StoredBar): Bar | null {
  return known(Date.parse(bar.ts) / 1000, Date.parse(bar.fetched_at), bar);
}

export function fromLive(bar: LiveBar): Bar | null {
  return known(bar.time, bar.fetched_at, bar);
}

/** Whether `next` may take the place of `old`: the lake's own rule, rank of state, then time. */
export function supersedes(next: Bar, old: Bar): boolean {
  const rank = (bar: Bar) => RANK[bar.state] ?? -1;
  return rank(next) > rank(old) || (rank(next) === rank(old) && next.fetchedAt >= old.fetchedAt);
}

/** Where a bar went: `newest` can be drawn at the end, `older` in the middle, `ignored` not. */
export type Placed = "newest" | "older" | "ignored";

export class Series {
  private readonly byTime = new Map<number, Bar>();
  private end = Number.NEGATIVE_INFINITY;

  get size(): number {
    return this.byTime.size;
  }

  get first(): Bar | undefined {
    return this.byTime.values().next().value; // as the server sent them: oldest first
  }

  get newest(): Bar | undefined {
    return this.byTime.get(this.end);
  }

  at(time: number): Bar | undefined {
    return this.byTime.get(time);
  }

  /** The bar before that one. */
  before(time: number): Bar | undefined {
    let best: Bar | undefined;
    for (const bar of this.byTime.values()) {
      if (bar.time < time && (!best || bar.time > best.time)) best = bar;
    }
    return best;
  }

  place(bar: Bar): Placed {
    const old = this.byTime.get(bar.time);
    if (old && !supersedes(bar, old)) return "ignored";
    this.byTime.set(bar.time, bar);
    if (bar.time < this.end) return "older";
    this.end = bar.time;
    return "newest";
  }

  sorted(): Bar[] {
    return [...this.byTime.values()].sort((a, b) => a.time - b.time);
  }
}

export function candle(bar: Bar): CandlestickData<UTCTimestamp> {
  const { open, high, low, close } = bar;
  return { time: bar.time as UTCTimestamp, open, high, low, close };
}

export function column(
  bar: Bar,
  colours: { up: string; down: string },
): HistogramData<UTCTimestamp> | WhitespaceData<UTCTimestamp> {
  const time = bar.time as UTCTimestamp;
  if (bar.volume === null) return { time };
  return { time, value: bar.volume, color: bar.close >= bar.open ? colours.up : colours.down };
}

export const INTERVALS = [
  "1s",
  "1m",
  "2m",
  "5m",
  "15m",
  "30m",
  "1h",
  "90m",
  "4h",
  "1d",
  "5d",
  "1wk",
  "1mo",
  "3mo",
] as const;

export function isIntraday(interval: string): boolean {
  return /[smh]$/.test(interval);
}

export interface Range {
  id: string;
  days: number;
}

/** What is shown where the address does not say: as many bars as can be told apart. */
export function defaultRange(interval: string, isNarrow: boolean): string {
  if (isIntraday(interval)) return "1d";
  return isNarrow ? "3m" : "6m";
}

/** How far back the buttons look. */
export function rangesOf(interval: string): readonly Range[] {
  return isIntraday(interval)
    ? [
        { id: "1d", days: 1 },
        { id: "1w", days: 7 },
        { id: "1m", days: 31 },
        { id: "all", days: Number.POSITIVE_INFINITY },
      ]
    : [
        { id: "1m", days: 31 },
        { id: "3m", days: 92 },
        { id: "6m", days: 183 },
        { id: "1y", days: 366 },
        { id: "5y", days: 1827 },
        { id: "all", days: Number.POSITIVE_INFINITY },
      ];
}
