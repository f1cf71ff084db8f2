import { expect, test } from "vitest";
import { dataAddress, format, parse } from "./url";

const at = (path: string) => new URL(path, "http://127.0.0.1:8765");

test("an address says the whole state, and the state the same address", () => {
  for (const address of [
    "/",
    "/chart/AAPL",
    "/chart/BRK.B?interval=5m&range=1w",
    "/chart/%5EGSPC?interval=1d&start=2012-01-01&end=2012-12-31",
    "/chart/BTC%2FUSD?provider=binance",
    "/sql?q=select+1+as+%22a%26b%22",
    "/sql",
    "/pipeline",
    "/api/docs",
  ]) {
    expect(format(parse(at(address)))).toBe(address);
  }
});

test("symbols are taken as they are written", () => {
  expect(parse(at("/chart/EURUSD%3DX"))).toMatchObject({ symbol: "EURUSD=X" });
  expect(parse(at("/chart/50%"))).toMatchObject({ symbol: "50%" });
  expect(parse(at("/chart/0700.HK"))).toMatchObject({ symbol: "0700.HK" });
});

test("dates of one's own leave no button pressed", () => {
  expect(parse(at("/chart/A?range=1y&start=2012-01-01"))).toMatchObject({ range: "" });
});

test("data is the view's path with a suffix; what is not given is left out", () => {
  expect(dataAddress("/chart/AAPL", "csv", { interval: "1d", start: "" })).toBe(
    "/chart/AAPL.csv?interval=1d",
  );
  expect(dataAddress("/pipeline", "json", {})).toBe("/pipeline.json");
});
