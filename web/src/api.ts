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

/** A text, or a number, as JSON writes them. */
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*/g;
const LONG = /\d{16}/;

/**
 * JSON whose integers of more than 53 bits become text, digit by digit: as numbers they would be
 * rounded. A reviver's source text would tell them, too, but only browsers since 2025 have it.
 */
export function parseExactly(text: string): unknown {
  const keep = (token: string) =>
    LONG.test(token) && /^-?\d+$/.test(token) && !Number.isSafeInteger(Number(token))
      ? `"${token}"`
      : token;
  return JSON.parse(LONG.test(text) ? text.replace(TOKENS, keep) : text);
}
