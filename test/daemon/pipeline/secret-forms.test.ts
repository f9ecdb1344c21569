import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formsOf, SHORTEST_SCRUBBED } from "../../../src/daemon/pipeline/secret-forms.ts";

const anyKey = fc.uint8Array({ minLength: SHORTEST_SCRUBBED, maxLength: 80 }).map((bytes) => Buffer.from(bytes));
const around = fc.uint8Array({ maxLength: 7 }).map((bytes) => Buffer.from(bytes));

test("whatever surrounds a key, its base64, base64url, hexadecimal and UTF-16 hold one of its forms", () => {
  fc.assert(
    fc.property(anyKey, around, around, (key, before, after) => {
      const forms = formsOf(key).map(({ bytes }) => bytes);
      const whole = Buffer.concat([before, key, after]);
      for (const encoding of ["base64", "base64url", "hex"] as const) {
        const text = Buffer.from(whole.toString(encoding));
        assert.ok(
          forms.some((form) => text.includes(form)),
          `${encoding} of ${key.toString("hex")}`,
        );
      }
      const wide = Buffer.from(whole.toString("latin1"), "utf16le");
      assert.ok(forms.some((form) => wide.includes(form)));
      const swapped = Buffer.from(wide).swap16();
      assert.ok(forms.some((form) => swapped.includes(form)));
    }),
  );
});

test("what is left around a base64 form tells less than two bytes of the key", () => {
  const key = Buffer.from("sk-0123456789abcdef");
  for (const pad of ["", "a", "ab"]) {
    const text = Buffer.from(`${pad}${key.toString()}`).toString("base64");
    const form = formsOf(key).find(({ bytes }) => text.includes(bytes.toString("latin1")))?.bytes;
    assert.ok(form && form.length * 6 >= key.length * 8 - 10, pad);
  }
});

test("no form is there twice, and a value too short to tell from a word has none", () => {
  const forms = formsOf(Buffer.from("aaaaaaaaaaaa")).map(({ bytes }) => bytes.toString("hex"));
  assert.equal(new Set(forms).size, forms.length);
  assert.deepEqual(formsOf(Buffer.from("short")), []);
  assert.notEqual(formsOf(Buffer.from("eight888")).length, 0);
});
