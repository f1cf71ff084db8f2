/** Asking the server: data, or an error that says what to do. */

export interface Problem {
  problem: string;
  expected?: string | null;
  found?: string | null;
  todo?: string | null;
}

export class ApiError extends Error {
  constructor(readonly body: Problem) {
    super(body.problem);
  }
}

/** What the header `Tickerlake-Result` tells about a table. */
export interface About {
  rows: number;
  truncated: boolean;
  warnings: string[];
  columns: [name: string, type: string][];
}

export interface Table<Row> {
  rows: Row[];
  about: About;
}

export interface SymbolRow {
  symbol: string;
  provider: string;
  intervals: string[];
  interval: string | null;
  /** Null where neither lake nor stream has a bar. */
  ts: string | null;
  last: number | null;
  previous: number | null;
  currency: string | null;
  /** The company's or the instrument's, where a search has told it. */
  name: string | null;
  exchange: string | null;
  /** Whether lake or stream hold bars of it; else it is only known. */
  stored: boolean;
}

const NOTHING: About = { rows: 0, truncated: false, warnings: [], columns: [] };

export async function getTable<Row>(address: string, signal?: AbortSignal): Promise<Table<Row>> {
  const answer = await ask(address, signal);
  const about = answer.headers.get("Tickerlake-Result");
  return {
    rows: parseExactly(await answer.text()) as Row[],
    about: about ? (JSON.parse(about) as About) : NOTHING,
  };
}

export async function getJson<T>(address: string, signal?: AbortSignal): Promise<T> {
  return (await (await ask(address, signal)).json()) as T;
}

async function ask(address: string, signal?: AbortSignal): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(address, signal ? { signal } : {});
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError({
      problem: "The server does not answer.",
      todo: "start `tickerlake serve` again; this page goes on by itself",
    });
  }
  if (!answer.ok) throw new ApiError((await answer.json()) as Problem);
  return answer;
}

/** JSON whose whole numbers beyond 2^53 stay as they were written: event ids are 64 bits. */
export function parseExactly(text: string): unknown {
  type WithSource = (
    this: unknown,
    key: string,
    value: unknown,
    context?: { source?: string },
  ) => unknown;
  const keep: WithSource = (_, value, context) =>
    typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value)
      ? (context?.source ?? value)
      : value;
  return JSON.parse(text, keep);
}
