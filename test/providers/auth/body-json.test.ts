import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BodyError, type BodyReason, readJsonPointer, rewriteJsonBody } from "../../../src/providers/auth/body-json.ts";

function rewritten(text: string, pointer = "/secret", carriers?: string[]): string {
  return rewriteJsonBody(Buffer.from(text), pointer, "MARK", carriers).toString("utf8");
}

test("the member is set, and what the client had there is gone", () => {
  assert.equal(rewritten('{"secret":"mine","a":1}'), '{"secret":"MARK","a":1}');
  assert.equal(rewritten('{"a":1}'), '{"a":1,"secret":"MARK"}');
  assert.equal(rewritten("{}"), '{"secret":"MARK"}');
  assert.equal(rewritten('{"secret":{"deep":["x"]}}'), '{"secret":"MARK"}');
});

test("every carrier pointer is removed first", () => {
  const text = '{"secret":"a","key":"b","auth":{"token":"c","id":1}}';
  assert.equal(
    rewritten(text, "/secret", ["/secret", "/key", "/auth/token", "/no/where"]),
    '{"auth":{"id":1},"secret":"MARK"}',
  );
});

test("numbers keep their source text and nested content its value", () => {
  const text = '{"n":[12345678901234567890,1e400,-0,0.10,1E+2],"o":{"x":null,"t":true,"s":"\\u00e9\\u2028"}}';
  assert.equal(
    rewritten(text),
    '{"n":[12345678901234567890,1e400,-0,0.10,1E+2],"o":{"x":null,"t":true,"s":"é\u2028"},"secret":"MARK"}',
  );
});

test("pointers are unescaped and lead through objects, which are made when missing", () => {
  assert.equal(rewritten("{}", "/a~1b/c~0d"), '{"a/b":{"c~d":"MARK"}}');
  assert.equal(rewritten('{"auth":{"x":1}}', "/auth/key"), '{"auth":{"x":1,"key":"MARK"}}');
});

test("any JSON object keeps everything but the member", () => {
  const value = fc.dictionary(
    fc.string().filter((key) => key !== "__proto__"),
    fc.jsonValue({ noUnicodeString: false }),
  );
  fc.assert(
    fc.property(value, (object) => {
      const plain = JSON.parse(JSON.stringify(object)) as Record<string, unknown>;
      const result = JSON.parse(rewritten(JSON.stringify(plain))) as Record<string, unknown>;
      assert.deepEqual(result, { ...plain, secret: "MARK" });
    }),
    { seed: 7 },
  );
});

const refused: [name: string, body: string | Buffer, reason: BodyReason][] = [
  ["an array", "[1]", "not_an_object"],
  ["a string", '"x"', "not_an_object"],
  ["a number", "12", "not_an_object"],
  ["null", "null", "not_an_object"],
  ["an empty body", "", "not_json"],
  ["broken JSON", '{"a":', "not_json"],
  ["two documents", "{}{}", "not_json"],
  ["a byte order mark", "\ufeff{}", "not_json"],
  ["a malformed key", '{"\\x":1}', "not_json"],
  ["an open string", '{"a', "not_json"],
  ["invalid UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), "not_utf8"],
  ["UTF-16", Buffer.from('{"a":1}', "utf16le"), "not_json"],
  ["a duplicate key", '{"secret":"a","b":1,"secret":"c"}', "duplicate_key"],
  ["a duplicate key behind an escape", '{"secret":"a","\\u0073ecret":"c"}', "duplicate_key"],
  ["a duplicate key inside", '{"auth":{"k":1,"k":2}}', "duplicate_key"],
  ["__proto__", '{"__proto__":{"secret":"x"}}', "forbidden_key"],
  ["__proto__ behind an escape", '{"a":{"\\u005f_proto__":1}}', "forbidden_key"],
  ["deep nesting", `{"a":${"[".repeat(200)}${"]".repeat(200)}}`, "too_deep"],
];
for (const [name, body, reason] of refused) {
  test(`${name} is refused as ${reason}`, () => {
    assert.throws(
      () => rewriteJsonBody(Buffer.from(body), "/secret", "MARK"),
      (error) => error instanceof BodyError && error.reason === reason && !error.message.includes("secret"),
    );
    assert.equal(readJsonPointer(Buffer.from(body), "/secret"), null);
  });
}

test("a pointer through something that is not an object is refused", () => {
  for (const text of ['{"a":1}', '{"a":"x"}', '{"a":[]}', '{"a":null}']) {
    assert.throws(
      () => rewritten(text, "/a/b"),
      (error) => error instanceof BodyError && error.reason === "pointer_blocked",
    );
  }
});

test("equal keys in different objects, and strings that look like keys, are no duplicates", () => {
  const text = '{"a":{"k":1},"b":{"k":2},"c":["k","k"],"d":"\\"k\\":1,\\"k\\":2"}';
  assert.equal(rewritten(text), `${text.slice(0, -1)},"secret":"MARK"}`);
});

test("members named like the prototype's are ordinary members", () => {
  assert.equal(
    rewritten('{"constructor":1,"toString":2}', "/hasOwnProperty"),
    '{"constructor":1,"toString":2,"hasOwnProperty":"MARK"}',
  );
  assert.equal(readJsonPointer(Buffer.from("{}"), "/constructor/name"), null);
});

test("a client's token is read from the member, and only when it is a string", () => {
  const body = Buffer.from('{"secret":"skc_1","n":12,"auth":{"key":"skc_2"}}');
  assert.equal(readJsonPointer(body, "/secret"), "skc_1");
  assert.equal(readJsonPointer(body, "/auth/key"), "skc_2");
  assert.equal(readJsonPointer(body, "/n"), null);
  assert.equal(readJsonPointer(body, "/auth"), null);
  assert.equal(readJsonPointer(body, "/missing/deeper"), null);
});
