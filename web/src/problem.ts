/** An error, shown as the command line shows it: what was expected, found, and what to do. */

import { ApiError, type Problem } from "./api";
import { h } from "./dom";

export function problemBox(error: unknown): HTMLElement {
  const body: Problem =
    error instanceof ApiError
      ? error.body
      : { problem: error instanceof Error ? error.message : String(error) };
  const lines: [string, string | null | undefined][] = [
    ["expected", body.expected],
    ["found", body.found],
    ["what to do", body.todo],
  ];
  return h(
    "div",
    { class: "problem", role: "alert" },
    h("strong", {}, body.problem),
    h(
      "dl",
      {},
      ...lines.flatMap(([name, text]) => (text ? [h("dt", {}, name), h("dd", {}, text)] : [])),
    ),
  );
}
