import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { twelveData } from "../../../src/providers/usage/twelve-data.ts";
import { type Call, factsOf, figureOf, headOf } from "./reading.ts";

const get = (path: string, query: string, answer: unknown): Call => {
  return { method: "GET", path, query, answer: JSON.stringify(answer), fields: { "api-credits-used": "700" } };
};
const SERIES = {
  meta: { symbol: "AAPL" },
  values: [{ datetime: "2026-01-02", close: "status", status: "error" }],
  status: "ok",
};
const FAILED = { code: 404, message: "**symbol** not found: XX", status: "error" };

describe("credits", () => {
  test("are one for a symbol, whatever the running total says", () => {
    const figure = figureOf(twelveData, get("/time_series", "symbol=AAPL&interval=1day", SERIES));
    assert.deepEqual(figure.units, { request: 1, credit: 1, byte: JSON.stringify(SERIES).length });
    assert.deepEqual([figure.quality, figure.failure], ["exact", null]);
    assert.equal(factsOf(twelveData, get("/quote", "symbol=AAPL,MSFT, TSLA", {})).expected.credit, 3);
    assert.deepEqual(factsOf(twelveData, get("/price", "symbol=BTC%2FUSD%2CETH%2FUSD", {})).atMost, {
      request: 1,
      credit: 2,
    });
  });

  test("are more on fundamentals, and not known everywhere", () => {
    const statement = figureOf(twelveData, get("/income_statement", "symbol=AAPL,MSFT,TSLA", {}));
    assert.deepEqual([statement.units.credit, statement.quality], [300, "exact"]);
    const profile = figureOf(twelveData, get("/profile", "symbol=AAPL", {}));
    assert.deepEqual([profile.units.credit, profile.quality], [1, "estimated"]);
    assert.equal(factsOf(twelveData, get("/profile", "symbol=AAPL", {})).atMost, null);
    assert.equal(factsOf(twelveData, get("/constructor", "", {})).expected.credit, 1);
  });

  test("are not used by an answer that says it failed", () => {
    const figure = figureOf(twelveData, get("/time_series", "symbol=XX", FAILED));
    assert.deepEqual(
      [figure.units.credit, figure.quality, figure.failure],
      [undefined, "exact", "404: **symbol** not found: XX"],
    );
    const limited = figureOf(
      twelveData,
      get("/quote", "symbol=A,B", {
        code: 429,
        message: "You have run out of API credits for the current minute.",
        status: "error",
      }),
    );
    assert.deepEqual(
      [limited.units.credit, limited.failure],
      [undefined, "429: You have run out of API credits for the current minute."],
    );
    const refused = figureOf(twelveData, { ...get("/quote", "symbol=A", FAILED), status: 429 });
    assert.deepEqual([refused.units, refused.quality], [{ request: 1 }, "none"]);
  });

  test("are used by those symbols of a batch that did not fail", () => {
    const figure = figureOf(
      twelveData,
      get("/time_series", "symbol=AAPL,XX,MSFT", { AAPL: SERIES, XX: FAILED, MSFT: SERIES }),
    );
    assert.deepEqual([figure.units.credit, figure.quality, figure.failure], [2, "exact", "**symbol** not found: XX"]);
    const statements = figureOf(twelveData, get("/income_statement", "symbol=AAPL,XX", { AAPL: {}, XX: FAILED }));
    assert.equal(statements.units.credit, 100);
  });

  test("of a batch of requests are one for each at least", () => {
    const request = { req_1: { url: "/time_series?symbol=AAPL" }, req_2: { url: "/price?symbol=XX" } };
    const answer = {
      code: 200,
      status: "success",
      data: { req_1: { response: SERIES, status: "success" }, req_2: { response: FAILED, status: "error" } },
    };
    const figure = figureOf(twelveData, { path: "/batch", request, answer: JSON.stringify(answer) });
    assert.deepEqual(
      [figure.units.credit, figure.quality, figure.failure],
      [1, "estimated", "**symbol** not found: XX"],
    );
    assert.equal(twelveData.needsBody(headOf({ path: "/batch", request })), true);
    assert.equal(twelveData.needsBody(headOf({ method: "GET", path: "/quote" })), false);
  });
});
