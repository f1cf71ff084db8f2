/** The strip below the title: how far each hop of the chain is. */

import { h } from "./dom";
import { count, duration, rate } from "./format";
import type { Hop } from "./live";

/** Records and time that a hop lags behind the one before; zero and unknown told apart. */
export function lagOf(hop: Hop): string[] {
  if (hop.lag_records === null && hop.lag_seconds === null) return ["–"];
  const parts: string[] = [];
  if (hop.lag_records) parts.push(count(hop.lag_records));
  if (hop.lag_seconds) parts.push(duration(hop.lag_seconds));
  return parts.length ? parts : ["0"];
}

function lag(hop: Hop): HTMLElement {
  const [first = "", second] = lagOf(hop);
  if (second === undefined) return h("span", { class: "lag" }, `lag ${first}`);
  return h(
    "span",
    { class: "lag" },
    "lag ",
    h("span", { class: "records" }, `${first} · `),
    second,
  );
}

export function paintStrip(strip: HTMLElement, hops: Hop[]): void {
  strip.replaceChildren(
    ...hops.map((hop) =>
      h(
        "li",
        {
          "data-hop": hop.name,
          "data-state": hop.state,
          title: `${hop.detail || hop.name}: ${hop.state}`,
        },
        h("span", { class: "hop" }, hop.name),
        h("span", { class: "count" }, count(hop.count)),
        h("span", { class: "rate" }, rate(hop.rate_per_second)),
        lag(hop),
      ),
    ),
  );
}
