import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { JsonBytes, JsonBytesError } from "../../src/providers/json-bytes.ts";

const read = (text: string): JsonBytes => JsonBytes.parse(Buffer.from(text));

describe("an answer that is read on bytes", () => {
  test("reads every string, number and member as JSON.parse does", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.double(), fc.boolean(), (text, number, flag) => {
        const value = { a: { [text]: text }, n: [number], f: flag };
        const json = JSON.stringify(value);
        const back = JSON.parse(json) as typeof value;
        const parsed = read(json);
        if (Buffer.byteLength(JSON.stringify(text)) > 1000 || !text.isWellFormed()) return;
        assert.equal(parsed.text("a", text), back.a[text]);
        assert.equal(parsed.items("n")[0]?.number() ?? null, back.n[0] ?? null);
        assert.equal(parsed.isTrue("f"), back.f);
      }),
    );
  });

  test("gives a secret in a Buffer of its own, unescaped", () => {
    const bytes = Buffer.from('{"k":"a\\"b\\\\c\\u00e9\\ud83d\\ude00\\/"}');
    const secret = JsonBytes.parse(bytes).secret("k");
    bytes.fill(0);
    assert.equal(
      secret?.use((own) => own.toString()),
      'a"b\\cé😀/',
    );
  });

  test("a path that leads nowhere, another kind, an empty secret and a long text are null", () => {
    const json = read(`{"o":{},"n":1,"e":"","l":"${"x".repeat(2000)}","s":"9"}`);
    assert.equal(json.secret("o", "x"), null);
    assert.equal(json.secret("n"), null);
    assert.equal(json.secret("e"), null);
    assert.equal(json.text("l"), null);
    assert.equal(json.number("s"), 9);
    assert.equal(json.number("e"), null);
    assert.deepEqual(json.items("o"), []);
    assert.equal(json.text("__proto__"), null);
    assert.equal(json.at("constructor"), null);
  });

  test("what is not one unambiguous JSON value is refused, without being quoted", () => {
    const bad = [
      "",
      "{",
      '{"a":1,}',
      '{"a":1 "b":2}',
      '{"a":"CANARY","a":"x"}',
      '{"a":"CANARY","\\u0061":"x"}',
      "[1,2",
      '"CANARY',
      '"a\nb"',
      "01",
      "NaN",
      "CANARY",
      '{"a":tru}',
      "1 2",
      "{1:2}",
      '{"a"}',
      `${"[".repeat(40)}${"]".repeat(40)}`,
    ];
    for (const text of bad) {
      assert.throws(
        () => read(text),
        (error: Error) => error instanceof JsonBytesError && !error.message.includes("CANARY"),
        text,
      );
    }
    for (const text of ['{"a":"\\x"}', '{"a":"\\ud800"}', '{"a":"\\u12"}']) {
      assert.throws(() => read(text).text("a"), JsonBytesError, text);
    }
  });

  test("never throws anything else, whatever the bytes are", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          JsonBytes.parse(Buffer.from(bytes));
        } catch (error) {
          assert.ok(error instanceof JsonBytesError);
        }
      }),
    );
  });

  test("finds the end of a million brackets without exhausting the stack", () => {
    assert.throws(() => read("[".repeat(1_000_000)), /nests deeper/);
    assert.throws(() => read(`[${"0,".repeat(60_000)}0]`), /more than 50000 values/);
  });
});
