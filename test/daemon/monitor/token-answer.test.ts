import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readTokenAnswer, type TokenAnswer } from "../../../src/daemon/monitor/token-answer.ts";

const answered = (body: string, status = 200): TokenAnswer =>
  readTokenAnswer({ status, headers: new Map(), body: Buffer.from(body) });
const life = (expires: string): number | string => {
  const read = answered(`{"access_token":"CANARYtoken"${expires}}`);
  return read.kind === "token" ? read.lifeMs : read.kind;
};

describe("a token endpoint's answer", () => {
  test("junk, huge, negative and missing lifetimes are handled", () => {
    assert.equal(life(',"expires_in":900'), 900_000);
    assert.equal(life(',"expires_in":"900"'), 900_000);
    assert.equal(life(',"expires_in":0.5'), 500);
    assert.equal(life(""), 300_000);
    assert.equal(life(',"expires_in":"soon"'), 300_000);
    assert.equal(life(',"expires_in":{"s":1}'), 300_000);
    assert.equal(life(',"expires_in":null'), 300_000);
    assert.equal(life(',"expires_in":99999999999'), 86_400_000);
    assert.equal(life(',"expires_in":1e999'), 86_400_000);
    assert.equal(life(',"expires_in":0'), "failed");
    assert.equal(life(',"expires_in":-1'), "failed");
    assert.equal(life(',"expires_in":-1e999'), "failed");
  });

  test("the refusals of RFC 6749 are told from passing trouble", () => {
    assert.deepEqual(answered('{"error":"invalid_grant"}', 400), { kind: "refused", reason: "invalid_grant" });
    assert.deepEqual(answered('{"error":"invalid_client"}', 401), { kind: "refused", reason: "invalid_client" });
    for (const [body, status] of [
      ['{"error":"invalid_grant"}', 500],
      ['{"error":"temporarily_unavailable"}', 400],
      ['{"error":"CANARY"}', 400],
      ["<html>CANARY</html>", 200],
      ['{"token_type":"mac","access_token":"CANARY"}', 200],
      ['{"access_token":""}', 200],
      ['{"access_token":"a\\r\\nX-Evil: 1"}', 200],
      ['{"access_token":["CANARY"]}', 200],
      ["", 503],
    ] as const) {
      const read = answered(body, status);
      assert.equal(read.kind, "failed", body);
      assert.doesNotMatch(JSON.stringify(read), /CANARY|Evil/);
    }
  });

  test("the answer is wiped, whatever it was", () => {
    for (const text of ['{"access_token":"CANARYtoken"}', '{"access_token":"CANARY', "CANARY"]) {
      const body = Buffer.from(text);
      readTokenAnswer({ status: 200, headers: new Map(), body });
      assert.ok(body.every((byte) => byte === 0));
    }
  });
});
