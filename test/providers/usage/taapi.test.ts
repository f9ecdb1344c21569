import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { taapi } from "../../../src/providers/usage/taapi.ts";
import { factsOf, figureOf, headOf } from "./reading.ts";

const construct = (...names: readonly string[]) => ({
  exchange: "binance",
  symbol: "BTC/USDT",
  interval: "1h",
  indicators: names.map((indicator) => ({ indicator })),
});

describe("TAAPI.IO", () => {
  test("an indicator is one calculation", () => {
    const call = {
      method: "GET",
      path: "/rsi",
      query: "exchange=binance&symbol=BTC/USDT&interval=1h",
      answer: '{"value":54.1}',
    };
    const figure = figureOf(taapi, call);
    assert.deepEqual([figure.units, figure.quality], [{ request: 1, credit: 1, byte: 14 }, "exact"]);
    assert.deepEqual(factsOf(taapi, call).atMost, { request: 1, credit: 1 });
  });

  test("a bulk is one request, and a calculation for each indicator of each construct", () => {
    const single = { path: "/bulk", request: { secret: "s", construct: construct("rsi", "macd") } };
    const several = {
      path: "/bulk",
      request: { secret: "s", construct: [construct("rsi", "macd"), construct("ema")] },
    };
    assert.deepEqual(factsOf(taapi, single).expected, { request: 1, credit: 2 });
    assert.deepEqual(factsOf(taapi, several).atMost, { request: 1, credit: 3 });
    const figure = figureOf(taapi, { ...several, answer: '{"data":[]}' });
    assert.deepEqual([figure.units.request, figure.units.credit], [1, 3]);
    const fake = { construct: { indicators: [{ indicator: "x", construct: { indicators: [1, 2, 3] } }] } };
    assert.equal(factsOf(taapi, { path: "/bulk", request: fake }).expected.credit, 1);
    assert.equal(factsOf(taapi, { path: "/bulk", request: "{" }).atMost, null);
    assert.equal(taapi.needsBody(headOf({ path: "/bulk", request: {} })), true);
    assert.equal(taapi.needsBody(headOf({ method: "GET", path: "/bulk" })), false);
  });

  test("what failed inside an answer that looks fine is told", () => {
    const data = [
      { id: "a", result: { value: 1 }, errors: [] },
      { id: "b", result: {}, errors: ["The indicator is unknown"] },
    ];
    const call = { path: "/bulk", request: { construct: construct("rsi", "x") } };
    assert.equal(figureOf(taapi, { ...call, answer: JSON.stringify({ data }) }).failure, "The indicator is unknown");
    assert.equal(
      figureOf(taapi, { ...call, answer: '{"error":"Invalid or missing API key."}' }).failure,
      "Invalid or missing API key.",
    );
    assert.equal(figureOf(taapi, { ...call, answer: '{"errors":["a","b"]}' }).failure, "a");
    assert.equal(figureOf(taapi, { ...call, answer: JSON.stringify({ data: data.slice(0, 1) }) }).failure, null);
  });
});
