/** The strip below the title: how far each hop of the chain is. */

import { h } from "./dom";
import { count, duration, rate } from "./format";
import type { Hop } from "./live";

export function lagOf(hop: Hop): string {
  if (hop.lag_records === null && hop.lag_seconds === null) return "–";
  if (!hop.lag_records && !hop.lag_seconds) return "0";
  const parts = [
    hop.lag_records ? count(hop.lag_records) : null,
    hop.lag_seconds ? duration(hop.lag_seconds) : null,
  ];
  return parts.filter(Boolean).join(" · ");
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
        h("span", { class: "lag" }, h("i", {}, "lag "), lagOf(hop)),
      ),
    ),
  );
}
