/** The pipeline's view: each hop with its last two minutes. */

import { ApiError } from "./api";
import { h } from "./dom";
import { count, duration, rate } from "./format";
import type { Beat, Hop } from "./live";
import { problemBox } from "./problem";

const KEPT = 120;
const SHOWN_MIN = 30;
const NAMESPACE = "http://www.w3.org/2000/svg";

export class PipelineView {
  readonly element = h("div", { class: "pipeline-view page" });
  private readonly hops = h("div", { class: "hops" });
  private readonly history = new Map<string, number[]>();
  private last: Beat | null = null;

  constructor() {
    const links = ["csv", "json", "arrow"].map((suffix) =>
      h("a", { href: `/pipeline.${suffix}` }, suffix.toUpperCase()),
    );
    this.element.append(
      h(
        "div",
        { class: "head" },
        h("h1", {}, "Pipeline"),
        h("div", { class: "exports" }, ...links),
      ),
      h(
        "p",
        { class: "lead" },
        "How far each hop of the chain is, and how fast it goes. Lag is what the hop before has and this one does not have yet.",
      ),
      this.hops,
    );
  }

  show(): void {
    document.title = "Pipeline · tickerlake";
    if (this.last) this.paint(this.last);
  }

  beat(beat: Beat): void {
    this.last = beat;
    for (const hop of beat.hops ?? []) {
      const rates = this.history.get(hop.name) ?? [];
      rates.push(hop.rate_per_second ?? 0);
      this.history.set(hop.name, rates.slice(-KEPT));
    }
    if (this.element.isConnected) this.paint(beat);
  }

  private paint(beat: Beat): void {
    if (beat.problem !== undefined) {
      this.hops.replaceChildren(
        problemBox(new ApiError({ problem: beat.problem, todo: beat.todo ?? null })),
      );
      return;
    }
    this.hops.replaceChildren(...(beat.hops ?? []).map((hop) => this.card(hop)));
  }

  private card(hop: Hop): HTMLElement {
    const figures: [string, string][] = [
      ["records", count(hop.count)],
      ["rate", rate(hop.rate_per_second)],
      ["lag", hop.lag_records === null ? "–" : count(hop.lag_records)],
      ["lag time", duration(hop.lag_seconds)],
    ];
    const card = h(
      "section",
      { class: "card", "data-state": hop.state },
      h("h2", {}, hop.name, h("span", { class: "state" }, hop.state)),
      h("dl", {}, ...figures.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)])),
      h("p", { class: "detail" }, hop.detail),
    );
    card.insertBefore(sparkline(this.history.get(hop.name) ?? []), card.lastChild);
    return card;
  }
}

/** Rates of the last two minutes as a line; flat at the bottom when nothing flows. */
export function sparklinePath(values: number[], width: number, height: number): string {
  const top = Math.max(...values, 1e-9);
  const step = width / (Math.max(values.length, SHOWN_MIN) - 1);
  return values
    .map((value, i) => {
      const x = width - (values.length - 1 - i) * step;
      return `${i ? "L" : "M"}${x.toFixed(1)} ${(height - 1 - (value / top) * (height - 2)).toFixed(1)}`;
    })
    .join("");
}

function sparkline(values: number[]): SVGElement {
  const svg = document.createElementNS(NAMESPACE, "svg");
  svg.setAttribute("viewBox", "0 0 240 36");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "sparkline");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "rate of the last two minutes");
  const path = document.createElementNS(NAMESPACE, "path");
  path.setAttribute("d", sparklinePath(values, 240, 36));
  svg.append(path);
  return svg;
}
