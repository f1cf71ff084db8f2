/** The chart's view: symbols at the side, one series' candles, moving as bars arrive. */

import { ApiError, getTable, type SymbolRow } from "./api";
import {
  defaultRange,
  fromLive,
  fromStored,
  INTERVALS,
  type LiveBar,
  rangesOf,
  Series,
  type StoredBar,
} from "./bars";
import { Chart } from "./chart";
import { h } from "./dom";
import { barTime, percent, price, volume } from "./format";
import { problemBox } from "./problem";
import { SymbolList } from "./symbols";
import { type ChartState, dataAddress } from "./url";

const RELOAD_PAUSE = 500;
const NARROW = 720;

export class ChartView {
  readonly element = h("div", { class: "chart-view" });
  readonly symbols: SymbolList;
  private readonly title = h("h1");
  private readonly quote = h("div", { class: "quote" });
  private readonly legend = h("div", { class: "legend" });
  private readonly intervals = h("div", {
    class: "segments",
    role: "group",
    "aria-label": "Interval",
  });
  private readonly ranges = h("div", { class: "segments", role: "group", "aria-label": "Range" });
  private readonly start = dateInput("From");
  private readonly end = dateInput("To");
  private readonly box = h("div", { class: "chart", id: "chart" });
  private readonly message = h("div", { class: "message" });
  private readonly exports = h("div", { class: "exports" });
  private readonly chart: Chart;
  private series = new Series();
  private rows: SymbolRow[] = [];
  private shown: ChartState | null = null;
  private provider = "";
  private currency = "";
  private interval = "1d";
  private asked: AbortController | null = null;
  private reloadTimer = 0;
  /** What arrives while the chart is fetched; null when nothing is fetched. */
  private waiting: LiveBar[] | null = null;

  constructor(
    private readonly go: (change: Partial<ChartState>) => void,
    private readonly addressOf: (symbol: string) => string,
    private readonly watch: (symbols: string[] | null) => void,
  ) {
    this.symbols = new SymbolList(
      (symbol) => go({ symbol, ...this.intervalFor(symbol) }),
      (rows) => this.listed(rows),
      (symbol) => this.addressOf(symbol),
    );
    const dates = h("div", { class: "dates" }, this.start, h("span", {}, "–"), this.end);
    for (const input of [this.start, this.end]) {
      input.addEventListener("change", () => {
        if (input.reportValidity()) go({ start: this.start.value, end: this.end.value, range: "" });
      });
    }
    this.element.append(
      this.symbols.element,
      h(
        "section",
        { class: "panel", "aria-label": "Chart" },
        h("div", { class: "head" }, this.title, this.quote, this.exports),
        h("div", { class: "controls" }, this.intervals, this.ranges, dates),
        h("div", { class: "canvas" }, this.legend, this.box, this.message),
      ),
    );
    this.chart = new Chart(this.box, (time) => this.describe(time));
  }

  /** Show what the address says. */
  async show(state: ChartState): Promise<void> {
    if (!this.rows.length) this.rows = await this.symbols.load();
    const symbol = state.symbol ?? this.rows[0]?.symbol ?? null;
    this.symbols.select(symbol);
    if (symbol === null) {
      this.say(this.symbols.problem ? problemBox(this.symbols.problem) : emptyLake());
      this.watchShown();
      return;
    }
    const before = this.shown;
    this.shown = { ...state, symbol };
    // The list shows only so many: an address may name a symbol that is not among them.
    const row =
      this.rows.find((listed) => listed.symbol === symbol) ?? (await this.symbols.find(symbol));
    this.interval = state.interval || row?.interval || "1d";
    this.title.textContent = symbol;
    document.title = `${symbol} · tickerlake`;
    this.paintControls(row);
    const isSame =
      before !== null &&
      JSON.stringify({ ...before, range: "" }) === JSON.stringify({ ...this.shown, range: "" });
    if (isSame && this.series.size) this.chart.show(this.series.sorted(), this.days());
    else await this.load(this.days());
    this.watchShown();
  }

  /** Bars that arrived. */
  bars(bars: LiveBar[]): void {
    this.symbols.update(bars);
    if (this.waiting) this.waiting.push(...bars);
    else this.place(bars);
  }

  private place(bars: LiveBar[]): void {
    for (const live of bars) {
      const bar = this.isShown(live.provider, live.symbol, live.interval) ? fromLive(live) : null;
      if (!bar || this.shown?.end) continue;
      const placed = this.series.place(bar);
      if (placed === "ignored") continue;
      this.chart.update(bar, placed === "older");
      this.paintQuote();
      this.describe(null);
    }
  }

  /** The stream was lost and is there again: what came meanwhile was missed. */
  reconnected(): void {
    if (this.element.isConnected) void this.load(null);
  }

  /** Once a second: an empty lake is asked again. */
  beat(): void {
    if (!this.rows.length && this.element.isConnected) this.relist();
  }

  /** Series of which more arrived than a frame carries. */
  reload(series: [string, string, string][]): void {
    if (!series.some((names) => this.isShown(...names))) return;
    clearTimeout(this.reloadTimer);
    this.reloadTimer = setTimeout(() => void this.load(null), RELOAD_PAUSE);
  }

  recolour(): void {
    this.chart.recolour(this.series);
  }

  private async load(days: number | null): Promise<void> {
    const wish = this.shown;
    if (!wish?.symbol) return;
    this.asked?.abort();
    this.asked = new AbortController();
    const { signal } = this.asked;
    this.waiting ??= [];
    try {
      const { rows, about } = await getTable<StoredBar>(this.data("json"), signal);
      this.series = new Series();
      for (const row of rows) {
        const bar = fromStored(row);
        if (bar) this.series.place(bar);
      }
      this.provider = rows[0]?.provider ?? wish.provider;
      this.currency = rows[0]?.currency ?? "";
      this.chart.draw(this.series, this.interval, days);
      this.say(rows.length ? null : h("p", {}, "No bars in this range."), about.warnings);
      this.paintQuote();
      this.describe(null);
      const arrived = this.waiting ?? [];
      this.waiting = null;
      this.place(arrived);
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return;
      this.waiting = null;
      this.series = new Series();
      this.chart.draw(this.series, this.interval, days);
      this.paintQuote();
      this.describe(null);
      this.say(problemBox(error));
      if (!(error instanceof ApiError)) throw error;
    }
  }

  private isShown(provider: string, symbol: string, interval: string): boolean {
    const isProvider = !this.provider || provider === this.provider;
    return isProvider && symbol === this.shown?.symbol && interval === this.interval;
  }

  private days(): number {
    const state = this.shown;
    if (!state || state.start || state.end) return Number.POSITIVE_INFINITY;
    const ranges = rangesOf(this.interval);
    const wanted = state.range || defaultRange(this.interval, innerWidth < NARROW);
    return (
      (ranges.find(({ id }) => id === wanted) ?? ranges.at(-1))?.days ?? Number.POSITIVE_INFINITY
    );
  }

  /** Another symbol may lack the interval that is shown now. */
  private intervalFor(symbol: string): Partial<ChartState> {
    const row = this.rows.find((candidate) => candidate.symbol === symbol);
    return !row || row.intervals.includes(this.interval) ? {} : { interval: "" };
  }

  private data(suffix: string): string {
    const { symbol, start, end, provider } = this.shown ?? {
      symbol: "",
      start: "",
      end: "",
      provider: "",
    };
    const path = `/chart/${encodeURIComponent(symbol ?? "")}`;
    return dataAddress(path, suffix, { interval: this.interval, start, end, provider });
  }

  private listed(rows: SymbolRow[]): void {
    if (!this.rows.length || rows.length > this.rows.length) this.rows = rows;
    this.watchShown(rows);
  }

  private relist(): void {
    void this.symbols.load().then((rows) => rows.length && this.shown === null && this.go({}));
  }

  private watchShown(rows: SymbolRow[] = this.rows): void {
    const symbols = rows.map(({ symbol }) => symbol);
    if (this.shown?.symbol) symbols.push(this.shown.symbol);
    this.watch(symbols.length ? symbols : null); // an empty lake waits for anything
  }

  private paintControls(row: SymbolRow | undefined): void {
    const has = new Set(row?.intervals ?? [this.interval]);
    const offered = INTERVALS.filter((name) => has.has(name) || name === this.interval);
    this.intervals.replaceChildren(
      ...offered.map((name) => this.segment(name, name === this.interval, { interval: name })),
    );
    const state = this.shown;
    const isCustom = Boolean(state?.start || state?.end);
    this.ranges.replaceChildren(
      ...rangesOf(this.interval).map(({ id, days }) =>
        this.segment(id === "all" ? "All" : id.toUpperCase(), !isCustom && days === this.days(), {
          range: id,
          start: "",
          end: "",
        }),
      ),
    );
    this.start.value = state?.start.slice(0, 10) ?? "";
    this.end.value = state?.end.slice(0, 10) ?? "";
    this.exports.replaceChildren(
      ...["csv", "json", "arrow"].map((suffix) =>
        h(
          "a",
          { href: this.data(suffix), title: `These bars as ${suffix.toUpperCase()}` },
          suffix.toUpperCase(),
        ),
      ),
    );
  }

  private segment(text: string, isOn: boolean, change: Partial<ChartState>): HTMLElement {
    const button = h("button", { type: "button", "aria-pressed": String(isOn) }, text);
    button.addEventListener("click", () => this.go(change));
    return button;
  }

  private paintQuote(): void {
    const { first, newest } = this.series;
    this.start.placeholder = first ? barTime(first.time, "1d") : "";
    this.end.placeholder = newest ? barTime(newest.time, "1d") : "";
    if (!newest) {
      this.quote.replaceChildren();
      return;
    }
    const change = percent(this.series.before(newest.time)?.close, newest.close) ?? "";
    this.quote.replaceChildren(
      h("span", { id: "last", class: "price" }, price(newest.close)),
      h("span", { class: "currency" }, this.currency),
      h("span", { class: "change", "data-way": wayOf(change) }, change),
      h("span", { class: "state", "data-state": newest.state }, newest.state),
    );
  }

  private describe(time: number | null): void {
    const bar = time === null ? this.series.newest : this.series.at(time);
    if (!bar) {
      this.legend.replaceChildren();
      return;
    }
    const values: [string, string][] = [
      ["O", price(bar.open)],
      ["H", price(bar.high)],
      ["L", price(bar.low)],
      ["C", price(bar.close)],
      ["V", volume(bar.volume)],
    ];
    this.legend.replaceChildren(
      h("span", { class: "when" }, barTime(bar.time, this.interval)),
      ...values.map(([name, text]) => h("span", {}, h("b", {}, name), text)),
    );
  }

  private say(content: HTMLElement | null, warnings: string[] = []): void {
    const lines = warnings.map((text) => h("p", { class: "warning" }, text));
    this.message.replaceChildren(...(content ? [content] : []), ...lines);
  }
}

/** Text, not a date picker: a date is written here as everywhere else in tickerlake. */
function dateInput(label: string): HTMLInputElement {
  return h("input", {
    type: "text",
    inputmode: "numeric",
    "aria-label": label,
    pattern: "\\d{4}-\\d{2}-\\d{2}",
    title: `${label}: a session date such as 2013-03-01; empty for all`,
    size: 10,
    maxlength: 10,
    autocomplete: "off",
  });
}

function wayOf(change: string): string {
  return change.startsWith("+") ? "up" : change.startsWith("−") ? "down" : "";
}

function emptyLake(): HTMLElement {
  return h(
    "div",
    { class: "empty" },
    h("strong", {}, "The lake is empty."),
    h("p", {}, "Bring some bars in, and they appear here as they arrive:"),
    h("pre", {}, "tickerlake publish AAPL MSFT\ntickerlake deliver"),
  );
}
