/** The state of the page is its address: nothing is shown that a shared link would not show. */

export interface ChartState {
  view: "chart";
  /** Null at `/`: the first symbol is shown. */
  symbol: string | null;
  interval: string;
  /** A button of the range, or empty where start or end say it. */
  range: string;
  start: string;
  end: string;
  provider: string;
}

export interface SqlState {
  view: "sql";
  query: string;
}

export type State = ChartState | SqlState | { view: "pipeline" } | { view: "docs" };

export function parse(url: URL): State {
  const query = url.searchParams;
  const path = url.pathname;
  if (path === "/sql") return { view: "sql", query: query.get("q") ?? "" };
  if (path === "/pipeline") return { view: "pipeline" };
  if (path === "/api/docs") return { view: "docs" };
  const chart = /^\/chart\/(.+)$/.exec(path)?.[1];
  const start = query.get("start") ?? "";
  const end = query.get("end") ?? "";
  return {
    view: "chart",
    symbol: chart === undefined ? null : decoded(chart),
    interval: query.get("interval") ?? "",
    range: start || end ? "" : (query.get("range") ?? ""),
    start,
    end,
    provider: query.get("provider") ?? "",
  };
}

/** A path that is not well escaped is taken as it is written. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function format(state: State): string {
  switch (state.view) {
    case "sql":
      return state.query ? `/sql?${new URLSearchParams({ q: state.query })}` : "/sql";
    case "pipeline":
      return "/pipeline";
    case "docs":
      return "/api/docs";
    case "chart": {
      const { symbol, interval, range, start, end, provider } = state;
      const given = Object.entries({ interval, range, start, end, provider }).filter(([, v]) => v);
      const query = new URLSearchParams(given).toString();
      const path = symbol === null ? "/" : `/chart/${encodeURIComponent(symbol)}`;
      return query ? `${path}?${query}` : path;
    }
  }
}

/** The same address with a suffix gives a view's data. */
export function dataAddress(
  path: string,
  suffix: string,
  parameters: Record<string, string>,
): string {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value));
  return query.size ? `${path}.${suffix}?${query}` : `${path}.${suffix}`;
}
