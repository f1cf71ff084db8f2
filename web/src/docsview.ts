/** What can be asked from outside, read from the server's own description. */

import { getJson } from "./api";
import { h } from "./dom";
import { problemBox } from "./problem";

interface OpenApi {
  info: { version: string; description: string };
  paths: Record<
    string,
    { get: { summary: string; parameters: { name: string; in: string; description?: string }[] } }
  >;
}

export class DocsView {
  readonly element = h("div", { class: "docs-view page" });

  async show(): Promise<void> {
    document.title = "API · tickerlake";
    try {
      this.paint(await getJson<OpenApi>("/api/docs.json"));
    } catch (error) {
      this.element.replaceChildren(problemBox(error));
    }
  }

  private paint({ info, paths }: OpenApi): void {
    const views = Object.entries(paths).filter(([path]) => !/\.(json|csv|arrow)$/.test(path));
    const entries = views.map(([path, { get }]) => {
      const isView = `${path}.json` in paths && path !== "/api/docs";
      const query = get.parameters.filter((parameter) => parameter.in === "query");
      return h(
        "section",
        { class: "card" },
        h(
          "h2",
          {},
          h("code", {}, path),
          isView && h("span", { class: "state" }, ".json .csv .arrow"),
        ),
        h("p", {}, get.summary),
        h(
          "dl",
          {},
          ...query.flatMap(({ name, description }) => [
            h("dt", {}, h("code", {}, name)),
            h("dd", {}, description ?? ""),
          ]),
        ),
      );
    });
    this.element.replaceChildren(
      h(
        "div",
        { class: "head" },
        h("h1", {}, "API"),
        h("div", { class: "exports" }, h("a", { href: "/api/docs.json" }, "OPENAPI")),
      ),
      h(
        "p",
        { class: "lead" },
        `The path of a view with .json, .csv or .arrow appended gives its data. ${info.description} Version ${info.version}.`,
      ),
      ...entries,
      h(
        "p",
        { class: "lead" },
        "Charts by ",
        h(
          "a",
          { href: "https://www.tradingview.com/", rel: "noreferrer" },
          "TradingView Lightweight Charts™",
        ),
        "; further ",
        h("a", { href: "/NOTICE.txt" }, "notices"),
        ".",
      ),
    );
  }
}
