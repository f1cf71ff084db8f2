import { expect, test } from "vitest";
import { parseExactly } from "./api";
import { sparklinePath } from "./pipelineview";
import { cell, isNumeric } from "./sqlview";
import { lagOf } from "./strip";

test("64-bit ids reach the reader digit by digit", () => {
  const [row] = parseExactly('[{"event_id":-8123456789012345678,"n":3}]') as [
    Record<string, unknown>,
  ];
  expect(cell(row.event_id)).toBe("-8123456789012345678");
  expect(row.n).toBe(3);
});

test("texts, fractions and powers that hold long digits stay what they are", () => {
  const text =
    '[{"a":"x 12345678901234567890 \\" 9999999999999999999","b":0.1234567890123456,' +
    '"c":1e20,"d":9007199254740991,"e":[18446744073709551615]}]';
  expect(parseExactly(text)).toEqual([
    {
      a: 'x 12345678901234567890 " 9999999999999999999',
      b: 0.1234567890123456,
      c: 1e20,
      d: 9007199254740991,
      e: ["18446744073709551615"],
    },
  ]);
});

test("cells show what is meant, not how it is stored", () => {
  expect(cell(814.2519000000001)).toBe("814.2519");
  expect(cell(1234567890123)).toBe("1234567890123");
  expect(cell("2013-03-01T00:00:00Z")).toBe("2013-03-01 00:00:00Z");
  expect(cell(null)).toBe("");
  expect(cell({ a: [1] })).toBe('{"a":[1]}');
});

test("numbers stand right, text stands left", () => {
  expect(["int64", "uint8", "double", "float", "decimal128(18, 2)"].every(isNumeric)).toBe(true);
  expect(["string", "timestamp[us, tz=UTC]", "bool", "date32[day]"].some(isNumeric)).toBe(false);
});

test("lag tells records and seconds, zero and unknown apart", () => {
  const hop = { name: "lake", count: 1, rate_per_second: 1, state: "ok", detail: "" } as const;
  expect(lagOf({ ...hop, lag_records: 218, lag_seconds: 2.1 })).toEqual(["218", "2.1 s"]);
  expect(lagOf({ ...hop, lag_records: 0, lag_seconds: 0 })).toEqual(["0"]);
  expect(lagOf({ ...hop, lag_records: null, lag_seconds: null })).toEqual(["–"]);
});

test("the rate's line ends at the right edge and stays inside", () => {
  expect(sparklinePath([0, 5, 10], 240, 36)).toMatch(/^M.* 35\.0L.*L240\.0 1\.0$/);
  expect(sparklinePath([], 240, 36)).toBe("");
});
