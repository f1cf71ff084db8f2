/** The SQL box: one SELECT, its answer as a table, and the same answer to take away. */

import { type About, getTable } from "./api";
import { h } from "./dom";
import { problemBox } from "./problem";
import { dataAddress } from "./url";

const ROWS_MAX = 500;
const EXAMPLES: [name: string, query: string][] = [
  [
    "What is there",
    "select symbol, interval, count(*) as bars, min(session_date) as first, max(session_date) as last\nfrom bars group by all order by symbol, interval",
  ],
  [
    "Newest bars",
    "select symbol, session_date, open, high, low, close, volume, state\nfrom bars order by ts desc, symbol limit 50",
  ],
  [
    "Biggest days",
    "select symbol, session_date, round(100 * (close / open - 1), 2) as percent\nfrom bars where interval = '1d' order by abs(close / open - 1) desc limit 20",
  ],
  ["Deliveries", "select * from deliveries limit 50"],
  ["Dead letters", "select * from dead_letters limit 50"],
];

type Row = Record<string, unknown>;

export class SqlView {
  readonly element = h("div", { class: "sql-view page" });
  private readonly box = h("textarea", {
    id: "query",
    rows: 4,
    spellcheck: "false",
    autocapitalize: "off",
    "aria-label": "Query",
    placeholder: "select … from bars",
  });
  private readonly button = h(
    "button",
    { type: "submit", class: "primary" },
    "Run",
    h("kbd", {}, "Ctrl ↵"),
  );
  private readonly status = h("p", { class: "status", role: "status" });
  private readonly exports = h("div", { class: "exports" });
  private readonly answer = h("div", { class: "answer" });
  private asked: AbortController | null = null;
  private shown: string | null = null;

  constructor(private readonly go: (query: string) => void) {
    const form = h(
      "form",
      {},
      this.box,
      h("div", { class: "actions" }, this.button, this.examples()),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.box.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        this.submit();
      }
    });
    this.element.append(
      h("div", { class: "head" }, h("h1", {}, "SQL"), this.exports),
      form,
      this.status,
      this.answer,
    );
  }

  async show(query: string): Promise<void> {
    document.title = "SQL · tickerlake";
    if (query === this.shown) return;
    this.shown = query;
    this.box.value = query || (EXAMPLES[0]?.[1] ?? "");
    if (query) await this.run(query);
  }

  private submit(): void {
    const query = this.box.value.trim();
    if (!query) return;
    this.shown = null; // the same query again is asked again
    this.go(query);
  }

  private async run(query: string): Promise<void> {
    this.asked?.abort();
    this.asked = new AbortController();
    const { signal } = this.asked;
    this.status.textContent = "Running …";
    this.element.setAttribute("aria-busy", "true");
    const started = performance.now();
    try {
      const address = dataAddress("/sql", "json", { q: query, limit: String(ROWS_MAX) });
      const { rows, about } = await getTable<Row>(address, signal);
      const took = performance.now() - started;
      this.answer.replaceChildren(...about.warnings.map(warning), table(rows, about));
      this.status.textContent = statusOf(about, took);
      this.exports.replaceChildren(
        ...["csv", "json", "arrow"].map((suffix) =>
          h("a", { href: dataAddress("/sql", suffix, { q: query }) }, suffix.toUpperCase()),
        ),
      );
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return;
      this.status.textContent = "";
      this.exports.replaceChildren();
      this.answer.replaceChildren(problemBox(error));
    } finally {
      this.element.removeAttribute("aria-busy");
    }
  }

  private examples(): HTMLElement {
    const buttons = EXAMPLES.map(([name, query]) => {
      const button = h("button", { type: "button", class: "chip" }, name);
      button.addEventListener("click", () => {
        this.box.value = query;
        this.submit();
      });
      return button;
    });
    return h("div", { class: "examples" }, ...buttons);
  }
}

function statusOf(about: About, milliseconds: number): string {
  const rows = `${about.rows.toLocaleString("en")} ${about.rows === 1 ? "row" : "rows"}`;
  const cut = about.truncated ? ", more are there: export them, or add a limit" : "";
  return `${rows} in ${milliseconds < 1000 ? `${milliseconds.toFixed(0)} ms` : `${(milliseconds / 1000).toFixed(1)} s`}${cut}`;
}

function warning(text: string): HTMLElement {
  return h("p", { class: "warning" }, text);
}

export function isNumeric(type: string): boolean {
  return /^(u?int\d+|float|double|halffloat|decimal)/.test(type);
}

/** A cell as text: numbers as they are, times without their needless parts. */
export function cell(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "object") return JSON.stringify(value);
  // Twelve digits hide what binary fractions add (814.2519000000001); exports keep every bit.
  if (typeof value === "number" && !Number.isInteger(value)) {
    return String(Number(value.toPrecision(12)));
  }
  return String(value).replace(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?Z$/, "$1 $2$3Z");
}

function table(rows: Row[], about: About): HTMLElement {
  const columns = about.columns.length
    ? about.columns
    : Object.keys(rows[0] ?? {}).map((name): [string, string] => [name, ""]);
  const head = columns.map(([name, type]) =>
    h("th", { scope: "col", class: isNumeric(type) ? "number" : "", title: type }, name),
  );
  const body = rows.map((row) =>
    h(
      "tr",
      {},
      ...columns.map(([name, type]) =>
        h(
          "td",
          { class: isNumeric(type) ? "number" : row[name] === null ? "null" : "" },
          cell(row[name]),
        ),
      ),
    ),
  );
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "Answer" },
    h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...body)),
  );
}
