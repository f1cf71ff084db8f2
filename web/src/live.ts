/** The live stream: bars as they arrive, and how fresh what is shown is. */

import type { LiveBar } from "./bars";

export type Badge = "CONNECTING" | "LIVE" | "STALE" | "REPLAY" | "DISCONNECTED";

export interface Hop {
  name: string;
  count: number | null;
  rate_per_second: number | null;
  lag_records: number | null;
  lag_seconds: number | null;
  state: "ok" | "behind" | "stopped" | "unknown";
  detail: string;
}

interface Fresh {
  badge: "LIVE" | "STALE" | "REPLAY";
  age_ms: number | null;
}

interface Hello extends Fresh {
  stale_after_ms: number;
  beat_ms: number;
  pinned_now: string | null;
}

interface Frame extends Fresh {
  bars: LiveBar[];
  reload: [provider: string, symbol: string, interval: string][];
}

export interface Beat extends Fresh {
  hops?: Hop[];
  problem?: string;
  todo?: string;
}

export interface Listener {
  reconnected(): void;
  bars(bars: LiveBar[]): void;
  reload(series: Frame["reload"]): void;
  beat(beat: Beat): void;
}

/** What the page knows about the stream at one moment; times are this machine's milliseconds. */
export interface Knowledge {
  isOpen: boolean;
  /** When the server was last heard; null before the first time. */
  heardAt: number | null;
  /** When the last record arrived at the server; null if none has. */
  arrivedAt: number | null;
  kind: "LIVE" | "REPLAY";
  staleAfter: number;
  silentAfter: number;
}

/** Freshness is the time since arrival, not since the bar's own time. */
export function badgeOf(now: number, known: Knowledge): Badge {
  if (known.heardAt === null) return known.isOpen ? "CONNECTING" : "DISCONNECTED";
  if (!known.isOpen || now - known.heardAt > known.silentAfter) return "DISCONNECTED";
  if (known.arrivedAt === null || now - known.arrivedAt > known.staleAfter) return "STALE";
  return known.kind;
}

export class Live {
  /** The server's clock, where it was set on purpose (TICKERLAKE_NOW). */
  pinnedNow: string | null = null;
  private source: EventSource | null = null;
  private symbols: string | null = null;
  private isLost = false;
  private readonly known: Knowledge = {
    isOpen: true,
    heardAt: null,
    arrivedAt: null,
    kind: "LIVE",
    staleAfter: 15_000,
    silentAfter: 5_000,
  };

  constructor(private readonly listener: Listener) {}

  /** Listen to these symbols from now on, or to all of them. */
  watch(symbols: Iterable<string> | null): void {
    const wanted = symbols && [...new Set(symbols)].sort().join(",");
    if (this.source && wanted === this.symbols) return;
    this.symbols = wanted;
    this.connect();
  }

  badge(now: number): Badge {
    return badgeOf(now, this.known);
  }

  /** Milliseconds since the last record arrived; null if none has. */
  age(now: number): number | null {
    return this.known.arrivedAt === null ? null : now - this.known.arrivedAt;
  }

  private connect(): void {
    this.source?.close();
    const wish = this.symbols === null ? "" : `?${new URLSearchParams({ symbols: this.symbols })}`;
    const source = new EventSource(`/api/stream${wish}`);
    this.source = source;
    source.addEventListener("open", () => {
      this.known.isOpen = true;
    });
    source.addEventListener("error", () => {
      this.isLost = true;
      this.known.isOpen = false; // the browser tries again by itself, unless it was refused
      if (source.readyState === EventSource.CLOSED && source === this.source) {
        setTimeout(() => source === this.source && this.connect(), 2_000);
      }
    });
    source.addEventListener("hello", (event: MessageEvent<string>) => {
      const hello = JSON.parse(event.data) as Hello;
      this.known.staleAfter = hello.stale_after_ms;
      this.known.silentAfter = 4 * hello.beat_ms + 1_000;
      this.pinnedNow = hello.pinned_now;
      this.heard(hello);
      if (this.isLost) this.listener.reconnected();
      this.isLost = false;
    });
    source.addEventListener("beat", (event: MessageEvent<string>) => {
      const beat = JSON.parse(event.data) as Beat;
      this.heard(beat);
      this.listener.beat(beat);
    });
    source.addEventListener("message", (event: MessageEvent<string>) => {
      const frame = JSON.parse(event.data) as Frame;
      this.heard(frame);
      this.listener.bars(frame.bars);
      if (frame.reload.length) this.listener.reload(frame.reload);
    });
  }

  private heard(fresh: Fresh): void {
    const now = performance.now();
    this.known.heardAt = now;
    this.known.arrivedAt = fresh.age_ms === null ? null : now - fresh.age_ms;
    if (fresh.badge !== "STALE") this.known.kind = fresh.badge;
  }
}
