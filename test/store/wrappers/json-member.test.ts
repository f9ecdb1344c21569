import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { jsonMember, jsonText } from "../../../src/store/wrappers/json-member.ts";

const read = (text: string, ...path: string[]): string | null => jsonText(Buffer.from(text), path);

test("a member is found wherever it is, as JSON.parse would find it", () => {
  const ascii = fc.stringMatching(/^[\x20-\x7e\n\t"\\/]{0,20}$/);
  const document = fc.dictionary(fc.stringMatching(/^[a-z]{1,3}$/), fc.oneof(ascii, fc.jsonValue({ maxDepth: 3 })));
  fc.assert(
    fc.property(document, ascii, fc.constantFrom(0, 2), (rest, wanted, indent) => {
      const text = JSON.stringify({ ...rest, data: { ...rest, plaintext: wanted }, after: rest }, null, indent);
      assert.equal(read(text, "data", "plaintext"), wanted);
    }),
  );
});

test("escapes are undone, also those that nobody needs", () => {
  assert.equal(read('{"a":"x\\/y\\u002b\\u003D\\n\\\\"}', "a"), "x/y+=\n\\");
  assert.equal(read('{"\\u0061":"found"}', "a"), "found");
});

test("what is not JSON, or not a string of ASCII, is nothing", () => {
  const broken = [
    "",
    "{",
    "[]",
    '"a"',
    "null",
    '{"a"',
    '{"a":',
    '{"a":}',
    '{"a":7}',
    '{"a":{"b":"c"}}',
    '{"b":"a"}',
    '{"a":"x',
  ];
  const odd = [
    '{"a":"\\x"}',
    '{"a":"\\u00e"}',
    '{"a":"\\u00e9"}',
    '{"a":"é"}',
    '{"a":"\n"}',
    "<html>",
    `{"b":${"[".repeat(5000)}`,
  ];
  for (const text of [...broken, ...odd]) assert.equal(read(text, "a"), null, text.slice(0, 30));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      jsonMember(bytes, ["a"])?.wipe();
    }),
  );
});
