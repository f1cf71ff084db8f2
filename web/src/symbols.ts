/** The list of symbols: search as you type, newest prices, arrows to move. */

import { ApiError, getJson, type SymbolRow } from "./api";
import type { LiveBar } from "./bars";
import { h } from "./dom";
import { percent, price } from "./format";

const SHOWN_MAX = 100;
const TYPING_PAUSE = 120;
const REFRESH_PAUSE = 1_000;
/** An answer that takes longer comes from providers: what is listed meanwhile does not fit. */
const PATIENCE = 400;

interface Line {
  row: SymbolRow;
  link: HTMLAnchorElement;
  last: HTMLElement;
  change: HTMLElement;
  time: number;
}

/** When its newest bar began; before everything where there is none. */
function secondsOf(row: SymbolRow): number {
  return row.ts === null ? Number.NEGATIVE_INFINITY : Date.parse(row.ts) / 1000;
}

/** What tells symbols apart that the lake does not hold: listings of one company look alike. */
function besideOf(row: SymbolRow): string {
  return [row.exchange ?? row.provider, row.name].filter(Boolean).join(" · ");
}

function titleOf(row: SymbolRow): string {
  const known = [row.name, row.exchange, row.provider].filter(Boolean).join(" · ");
  return row.stored ? known : `${known}: no bars here yet; tickerlake publish ${row.symbol}`;
}

export class SymbolList {
  readonly element: HTMLElement;
  private readonly input = h("input", {
    type: "search",
    id: "search",
    placeholder: "Search symbols",
    "aria-label": "Search symbols",
    autocomplete: "off",
    spellcheck: "false",
  });
  private readonly list = h("div", { class: "symbols", role: "list" });
  /** Why the server gave no list the last time. */
  problem: ApiError | null = null;
  private lines: Line[] = [];
  private selected: string | null = null;
  private timer = 0;
  /** What the search box says is not answered yet. */
  private waits = false;
  private refreshTimer = 0;
  private asked: AbortController | null = null;

  constructor(
    private readonly choose: (symbol: string) => void,
    private readonly changed: (rows: SymbolRow[]) => void,
    private readonly addressOf: (symbol: string) => string,
  ) {
    this.element = h(
      "aside",
      { class: "side", "aria-label": "Symbols" },
      h("div", { class: "search" }, this.input, h("kbd", {}, "/")),
      this.list,
    );
    this.input.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.waits = true;
      this.timer = setTimeout(() => void this.load(), TYPING_PAUSE);
    });
    this.input.addEventListener("keydown", (event) => this.key(event));
  }

  focus(): void {
    this.input.focus();
    this.input.select();
  }

  /** Ask the server for what the search box says. */
  async load(): Promise<SymbolRow[]> {
    clearTimeout(this.timer);
    this.asked?.abort();
    this.asked = new AbortController();
    const { signal } = this.asked;
    const query = new URLSearchParams({ q: this.input.value, limit: String(SHOWN_MAX) });
    const waiting = setTimeout(() => this.wait(), PATIENCE);
    signal.addEventListener("abort", () => clearTimeout(waiting));
    try {
      const rows = await getJson<SymbolRow[]>(`/api/search?${query}`, signal);
      this.problem = null;
      this.show(rows);
      this.changed(rows);
      return rows;
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return [];
      if (!(error instanceof ApiError)) throw error;
      this.problem = error;
      this.lines = [];
      this.list.replaceChildren(h("p", { class: "none" }, error.message));
      return [];
    } finally {
      clearTimeout(waiting);
      if (!signal.aborted) this.waits = false;
    }
  }

  /** Nothing that is listed is what was asked for. */
  private wait(): void {
    if (!this.input.value) return;
    this.lines = [];
    this.list.replaceChildren(h("p", { class: "none" }, "Asking providers …"));
  }

  /** Go to the first that fits what the search box says now. */
  private async take(): Promise<void> {
    if (this.waits) await this.load();
    const first = this.lines[0];
    if (this.waits || first === undefined) return;
    this.choose(first.row.symbol);
    this.input.blur();
  }

  /** What the server knows of one symbol that the list may not show. */
  async find(symbol: string): Promise<SymbolRow | undefined> {
    const query = new URLSearchParams({ q: symbol, limit: String(SHOWN_MAX), ask: "no" });
    const rows = await getJson<SymbolRow[]>(`/api/search?${query}`).catch(() => []);
    return rows.find((row) => row.symbol === symbol);
  }

  select(symbol: string | null): void {
    this.selected = symbol;
    for (const { row, link } of this.lines) {
      if (row.symbol === symbol) {
        link.setAttribute("aria-current", "true");
        link.scrollIntoView({ block: "nearest", inline: "nearest" });
      } else link.removeAttribute("aria-current");
    }
  }

  /** Go up or down from the selected symbol. */
  move(step: number): void {
    const symbols = [...new Set(this.lines.map(({ row }) => row.symbol))];
    const at = this.selected === null ? -1 : symbols.indexOf(this.selected);
    const next = symbols[Math.min(Math.max(at + step, 0), symbols.length - 1)];
    if (next !== undefined && next !== this.selected) this.choose(next);
  }

  /** Newest prices, as they arrive. */
  update(bars: LiveBar[]): void {
    for (const bar of bars) {
      for (const line of this.lines) {
        const { row } = line;
        const isIts = row.symbol === bar.symbol && row.provider === bar.provider;
        if (!isIts || row.interval !== bar.interval || bar.close === null) continue;
        if (bar.time < line.time) continue;
        if (bar.time > line.time) {
          // Most likely the close before; the list may be older than that, so it is asked again.
          row.previous = row.last;
          this.refreshTimer ||= setTimeout(() => void this.refresh(), REFRESH_PAUSE);
        }
        line.time = bar.time;
        row.last = bar.close;
        this.paint(line);
      }
    }
  }

  /** Newest and previous closes as the server knows them; the list itself stays as it is. */
  private async refresh(): Promise<void> {
    this.refreshTimer = 0;
    const shown = this.lines;
    const asked = { q: this.input.value, limit: String(SHOWN_MAX), ask: "no" };
    const query = new URLSearchParams(asked);
    const rows = await getJson<SymbolRow[]>(`/api/search?${query}`).catch(() => []);
    for (const row of rows) {
      const line = shown.find(
        (l) => l.row.symbol === row.symbol && l.row.provider === row.provider,
      );
      const time = secondsOf(row);
      if (!line || time < line.time) continue;
      line.row = time === line.time ? { ...row, last: line.row.last } : row;
      line.time = time;
      this.paint(line);
    }
  }

  private show(rows: SymbolRow[]): void {
    this.lines = rows.map((row) => {
      const last = h("span", { class: "last" });
      const change = h("span", { class: "change" });
      const twice = rows.some((other) => other !== row && other.symbol === row.symbol);
      const beside = row.stored ? twice && row.provider : besideOf(row);
      const link = h(
        "a",
        {
          href: this.addressOf(row.symbol),
          role: "listitem",
          title: titleOf(row),
          "data-symbol": row.symbol,
          "data-stored": String(row.stored),
        },
        h("span", { class: "name" }, row.symbol, beside && h("small", {}, beside)),
        last,
        change,
      );
      link.addEventListener("click", (event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        this.choose(row.symbol);
      });
      const line: Line = { row, link, last, change, time: secondsOf(row) };
      this.paint(line);
      return line;
    });
    const nothing = h(
      "p",
      { class: "none" },
      this.input.value
        ? "Nothing found here, nor by providers that could be asked."
        : "No bars yet.",
    );
    this.list.replaceChildren(...(rows.length ? this.lines.map(({ link }) => link) : [nothing]));
    this.select(this.selected);
  }

  private paint({ row, last, change }: Line): void {
    last.textContent = price(row.last);
    const text = percent(row.previous, row.last) ?? "";
    change.textContent = text;
    change.dataset.way = text.startsWith("+") ? "up" : text.startsWith("−") ? "down" : "";
  }

  private key(event: KeyboardEvent): void {
    if (event.key === "ArrowDown") this.move(1);
    else if (event.key === "ArrowUp") this.move(-1);
    else if (event.key === "Enter") void this.take();
    else if (event.key === "Escape") {
      if (this.input.value) {
        this.input.value = "";
        void this.load();
      } else this.input.blur();
    } else return;
    event.preventDefault();
  }
}
