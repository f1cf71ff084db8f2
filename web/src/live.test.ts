import { expect, test } from "vitest";
import { badgeOf, type Knowledge } from "./live";

const known: Knowledge = {
  isOpen: true,
  heardAt: 100_000,
  arrivedAt: 100_000,
  kind: "LIVE",
  staleAfter: 15_000,
  silentAfter: 5_000,
};

test("records that arrive are live, or a replay where the server says so", () => {
  expect(badgeOf(101_000, known)).toBe("LIVE");
  expect(badgeOf(101_000, { ...known, kind: "REPLAY" })).toBe("REPLAY");
});

test("a feed that stops is stale although the server answers", () => {
  expect(badgeOf(116_000, { ...known, heardAt: 115_500 })).toBe("STALE");
});

test("a feed that has never brought anything is stale", () => {
  expect(badgeOf(100_100, { ...known, arrivedAt: null })).toBe("STALE");
});

test("a server that is silent or gone is disconnected, whatever arrived before", () => {
  expect(badgeOf(106_000, known)).toBe("DISCONNECTED");
  expect(badgeOf(100_100, { ...known, isOpen: false })).toBe("DISCONNECTED");
});

test("before the first word the page is connecting, unless it was refused", () => {
  expect(badgeOf(1, { ...known, heardAt: null })).toBe("CONNECTING");
  expect(badgeOf(1, { ...known, heardAt: null, isOpen: false })).toBe("DISCONNECTED");
});
