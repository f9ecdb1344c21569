import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { UnreadableAnswer, withoutMinted } from "../../../src/daemon/pipeline/minted.ts";

const RULE = { members: new Set(["access_token", "refresh_token"]), replacement: Buffer.from("[sidekey:m]") };
const JSON_TYPE = "application/json; charset=utf-8";
const strip = (text: string, type = JSON_TYPE) => withoutMinted(Buffer.from(text), type, RULE);

test("the text of a token member goes, wherever it is and however its name is written", () => {
  for (const [text, expected] of [
    ['{"access_token":"abc"}', '{"access_token":"[sidekey:m]"}'],
    ['[{"a":{"access_token" :\n "a\\"b\\\\"}}]', '[{"a":{"access_token" :\n "[sidekey:m]"}}]'],
    ['{"access\\u005ftoken":"abc"}', '{"access\\u005ftoken":"[sidekey:m]"}'],
    ['{"access_token":"","x":"access_token"}', '{"access_token":"[sidekey:m]","x":"access_token"}'],
    ['{"refresh_token":"r","access_token":"a"}', '{"refresh_token":"[sidekey:m]","access_token":"[sidekey:m]"}'],
  ] as const) {
    assert.equal(strip(text).body.toString(), expected);
  }
});

test("what is no token stays byte for byte", () => {
  for (const text of [
    '{"access_token":12,"token_type":"Bearer","expires_in":3600}',
    '{"error":"invalid_grant","error_description":"say \\"access_token\\":\\"x\\""}',
    '{"access_token_hint":"abc","b":["access_token","x"]}',
    "{}",
  ]) {
    const { body, count } = strip(text);
    assert.equal(body.toString(), text);
    assert.equal(count, 0);
  }
});

test("a form's fields are treated alike", () => {
  const { body, count } = strip("access_token=a%2Fb&scope=x&refresh_token=", "application/x-www-form-urlencoded");
  assert.equal(body.toString(), "access_token=[sidekey:m]&scope=x&refresh_token=[sidekey:m]");
  assert.equal(count, 2);
});

test("an answer that cannot be read is refused instead of passed", () => {
  for (const text of [
    "<html>access_token</html>",
    "access_token=abc",
    '{"access_token":"abc',
    '{"access\\u00zz":"a"}',
  ]) {
    assert.throws(() => strip(text), UnreadableAnswer, text);
  }
});

test("the tokens are overwritten in the bytes that came", () => {
  const body = Buffer.from('{"access_token":"abc"}');
  withoutMinted(body, JSON_TYPE, RULE);
  assert.ok(!body.includes("abc"));
});

test("in any JSON, packed or indented, no token is left and nothing else has changed", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.string(), fc.constantFrom(0, 2), (value, token, indent) => {
      const document = { before: value, inner: [{ access_token: token }], after: value };
      const expected = { before: value, inner: [{ access_token: "[sidekey:m]" }], after: value };
      fc.pre(!/access_token|refresh_token/.test(JSON.stringify(value)));
      const { body } = strip(JSON.stringify(document, null, indent));
      assert.deepEqual(JSON.parse(body.toString()), JSON.parse(JSON.stringify(expected)));
    }),
  );
});
