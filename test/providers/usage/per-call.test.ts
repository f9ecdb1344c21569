import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { alphaVantage, ERROR_WINDOW, perCall } from "../../../src/providers/usage/per-call.ts";
import { factsOf, figureAt, figureOf } from "./reading.ts";

const CALL = { method: "GET", path: "/stable/quote", query: "symbol=AAPL" };
const failureOf = (answer: string, dialect = perCall): string | null => figureOf(dialect, { ...CALL, answer }).failure;

describe("one request and its bytes", () => {
  test("are counted, and nothing else", () => {
    const answer = '[{"symbol":"AAPL","price":1,"usage":{"prompt_tokens":5},"error":"x"}]';
    assert.deepEqual(figureOf(perCall, { ...CALL, answer }), {
      model: null,
      tier: null,
      units: { request: 1, byte: answer.length },
      quality: "exact",
      partial: false,
      charged: null,
      failure: null,
    });
    assert.equal(figureAt(perCall, { ...CALL, answer, complete: false }).partial, true);
    assert.deepEqual(figureAt(perCall, { ...CALL, answer: "", status: 204 }).units, { request: 1 });
    const facts = factsOf(perCall, CALL);
    assert.deepEqual([facts.operation, facts.expected, facts.atMost], ["call", { request: 1 }, { request: 1 }]);
  });

  test("of a compressed answer are those that came, when its length is known", () => {
    const bytes = (fields: Readonly<Record<string, string>>, complete = true): number | undefined =>
      figureAt(perCall, { ...CALL, answer: "x".repeat(500), fields, complete }).units.byte;
    assert.equal(bytes({ "content-encoding": "gzip", "content-length": "80" }), 80);
    assert.equal(bytes({ "content-encoding": "gzip" }), 500);
    assert.equal(bytes({ "content-encoding": "gzip", "content-length": "-5" }), 500);
    assert.equal(bytes({ "content-encoding": "gzip", "content-length": "80" }, false), 500);
    assert.equal(bytes({ "content-encoding": "identity", "content-length": "80" }), 500);
  });

  test("are nothing of an error", () => {
    const figure = figureOf(perCall, { ...CALL, status: 402, answer: "Premium Query Parameter" });
    assert.deepEqual([figure.units, figure.quality, figure.failure], [{ request: 1 }, "none", null]);
  });
});

describe("an error inside an answer that looks fine", () => {
  test("is told as the provider words it", () => {
    assert.equal(
      failureOf('{"Error Message":"Limit Reach . Please upgrade your plan"}'),
      "Limit Reach . Please upgrade your plan",
    );
    assert.equal(failureOf('{"error":["EGeneral:Permission denied"],"result":{}}'), "EGeneral:Permission denied");
    assert.equal(failureOf('{"error":{"code":101,"info":"No key"}}'), "101: No key");
    assert.equal(failureOf('{ "result": 1, "error" : "late" }'), "late");
  });

  test("is not there when its member says so, or is data", () => {
    for (const answer of [
      '{"error":[],"result":{}}',
      '{"error":null}',
      '{"error":false}',
      '{"error":0}',
      '{"error":""}',
      '{"errors":{}}',
    ]) {
      assert.equal(failureOf(answer), null, answer);
    }
    for (const answer of [
      '[{"error":"x"}]',
      '{"data":{"error":"x"}}',
      '{"Note":"x","Information":"y"}',
      "error: x",
      "<html>",
      "",
    ]) {
      assert.equal(failureOf(answer), null, answer);
    }
  });

  test("of Alpha Vantage tells of limits, without the key that it repeats", () => {
    const key = "ABCD1234EFGH5678";
    const answer = JSON.stringify({
      Information: `We have detected your API key as ${key} and our standard API rate limit is 25 requests per day.`,
    });
    const failure = failureOf(answer, alphaVantage);
    assert.equal(
      failure,
      "We have detected your API key as [masked] and our standard API rate limit is 25 requests per day.",
    );
    assert.equal(failureOf('{"Note":"Thank you"}', alphaVantage), "Thank you");
    assert.equal(failureOf('{"Error Message":"Invalid API call."}', alphaVantage), "Invalid API call.");
    assert.equal(failureOf('{"Meta Data":{"1. Information":"Daily"},"Time Series":{}}', alphaVantage), null);
  });

  test("is looked for at the beginning of an answer only", () => {
    const late = `{"x":"${"y".repeat(ERROR_WINDOW)}","error":"late"}`;
    assert.equal(figureAt(perCall, { ...CALL, answer: late }).failure, null);
    assert.equal(figureAt(perCall, { ...CALL, answer: late }, [10, 60_000]).failure, null);
    assert.equal(figureAt(perCall, { ...CALL, answer: late }).units.byte, late.length);
  });
});
