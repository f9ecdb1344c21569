import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { failureText, MAX_FAILURE_CHARACTERS } from "../../../src/providers/usage/failure-text.ts";

const text = (value: unknown): string | null => failureText(Buffer.from(JSON.stringify(value)));

describe("the text of an error", () => {
  test("is the message with its kind", () => {
    assert.equal(text("no"), "no");
    assert.equal(text({ message: "no", type: "rate_limit_error" }), "rate_limit_error: no");
    assert.equal(text({ code: 429, message: "no", status: "RESOURCE_EXHAUSTED" }), "429: no");
    assert.equal(text({ type: "overloaded_error" }), "overloaded_error");
    assert.equal(text(["", { message: "second" }]), "second");
    assert.equal(text(["a", "b"]), "a");
    assert.equal(text(7), "7");
    assert.equal(text(true), "error");
  });

  test("is none when there is no error", () => {
    for (const value of [null, false, 0, "", " \n", [], {}, [[]], { message: "" }, [[["deep"]]]])
      assert.equal(text(value), null);
    assert.equal(failureText(null), null);
    assert.equal(failureText(Buffer.from("{broken")), null);
  });

  test("is printable, on one line and short", () => {
    assert.equal(text("a\n\tb\u0000c\u001b[31md\u00e9\u{1f600}"), "a b c [31md???");
    assert.equal(text("x ".repeat(500))?.length, MAX_FAILURE_CHARACTERS);
  });

  test("has nothing in it that may be a key", () => {
    assert.equal(
      text("Incorrect API key provided: sk-proj-AbCd1234EfGh. See https://example.com/account/keys"),
      "Incorrect API key provided: [masked]. See https://example.com/account/keys",
    );
    assert.equal(text("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0= here"), "token [masked].[masked] here");
    assert.equal(
      text({ message: "key ABCDEFGHIJKLMNOP", type: "authentication_error" }),
      "authentication_error: key [masked]",
    );
    assert.equal(
      text("authentication failed, insufficient_permissions"),
      "authentication failed, insufficient_permissions",
    );
    assert.equal(text('quoted \\"abcdefghijk1mno\\" and \u00e9abcdefghijk1mno'), 'quoted \\"[masked]\\" and ?[masked]');
    const numbers = Buffer.from('{"at":1712345678901,"message":"late"}');
    assert.equal(failureText(numbers), "late");
    const escaped = Buffer.from('"x\\u0041abcdefghijk1mno\\nabcdefghijk1mno"');
    assert.equal(failureText(escaped), "xA[masked] [masked]");
  });

  test("never shows a key, whatever stands around it, and is always bounded", () => {
    const key = fc.stringMatching(/^[A-Za-z0-9_-]{20,40}$/).filter((value) => /\d/.test(value));
    const around = fc.constantFrom(" ", '"', "'", "\n", "\u00e9", ":", ",", "(", "\\", "<");
    fc.assert(
      fc.property(fc.string(), around, key, around, fc.string(), (before, left, secret, right, after) => {
        const told = text({ message: `${before}${left}${secret}${right}${after}`, code: secret });
        assert.ok(told === null || (!told.includes(secret) && told.length <= MAX_FAILURE_CHARACTERS));
      }),
    );
    fc.assert(fc.property(fc.jsonValue(), (value) => assert.match(text(value) ?? "x", /^[\x20-\x7e]{1,200}$/)));
  });
});
