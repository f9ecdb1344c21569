import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ERROR_STATUS,
  type ErrorCode,
  ProxyError,
  problemFields,
  problemJson,
  toProxyError,
} from "../../../src/daemon/pipeline/errors.ts";

test("each code has its status, and the body is a problem document that names code, detail and request", () => {
  for (const [code, status] of Object.entries(ERROR_STATUS) as [ErrorCode, number][]) {
    const error = new ProxyError(code, "what happened; what to do", { reason: "why", route: "p" });
    const body = problemJson(error, "id-1");
    assert.deepEqual(JSON.parse(body.toString()), {
      type: `urn:sidekey:error:${code}`,
      title: code,
      status,
      code,
      reason: "why",
      detail: "what happened; what to do",
      route: "p",
      request_id: "id-1",
      docs: `docs/errors.md#${code}`,
    });
  }
});

test("the answer's fields say what it is, how long it is in bytes, and that nobody may keep it", () => {
  const error = new ProxyError("overloaded", "z\u00fcrich", { fields: ["Retry-After", "1"] });
  const body = problemJson(error, "id");
  const fields = problemFields(error, body.length);
  assert.deepEqual(fields, [
    ...["Content-Type", "application/problem+json", "Content-Length", String(body.length), "Cache-Control", "no-store"],
    ...["Sidekey-Error", "overloaded", "Retry-After", "1"],
  ]);
});

test("G7 no-leak: what was not foreseen becomes `internal`, without a word of its own text", () => {
  const secret = "https://api.p.test/?apikey=sk-secret";
  for (const thrown of [new Error(secret), new TypeError(secret), secret, { message: secret }, null, undefined]) {
    const error = toProxyError(thrown);
    assert.equal(error.code, "internal");
    assert.equal(error.cause, thrown ?? error.cause);
    assert.ok(!problemJson(error, "id").includes("sk-secret"));
    assert.ok(!error.message.includes("sk-secret"));
    assert.ok(!problemFields(error, 1).join().includes("sk-secret"));
  }
  const known = new ProxyError("upstream_dns", "no such name");
  assert.equal(toProxyError(known), known);
});
