import assert from "node:assert/strict";
import { test } from "node:test";
import { findCanary, makeCanary } from "./canary.ts";

const forms = (haystack: Uint8Array | string, canary = plain): string[] =>
  findCanary([haystack], canary).map((hit) => hit.form);
const plain = makeCanary();
const special = makeCanary({ special: true });

test("two canaries are never the same and hold printable ASCII alone", () => {
  assert.notEqual(makeCanary().text, makeCanary().text);
  assert.match(special.text, /^[\x21-\x7e]+$/);
});

test("a haystack without the canary has no hit, also not for a similar one", () => {
  assert.deepEqual(forms(`authorization: Bearer ${makeCanary().text}`), []);
});

test("the raw canary is found with its buffer and offset", () => {
  const hit = findCanary(["nothing", `xx${plain.text}`], plain).find(({ form }) => form === "raw");
  assert.deepEqual(hit, { form: "raw", buffer: 1, offset: 2 });
});

test("base64 and base64url are found at every alignment", () => {
  for (const prefix of ["", "u", "us", "user:"]) {
    const bytes = Buffer.from(`${prefix}${special.text}:tail`);
    assert.ok(forms(`Basic ${bytes.toString("base64")}`, special).includes("base64"), prefix);
    assert.ok(
      forms(bytes.toString("base64url"), special).some((form) => form.startsWith("base64")),
      prefix,
    );
  }
});

test("percent-encoding is found whole, in part and in either case", () => {
  assert.ok(forms(`/v1?k=${encodeURIComponent(special.text)}`, special).includes("percent"));
  const allEncoded = [...plain.bytes].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("");
  assert.ok(forms(allEncoded).includes("percent"));
  assert.ok(forms(plain.text.replace("c", "%63")).includes("percent"));
});

test("hex, JSON-escaped and UTF-16 forms are found", () => {
  assert.ok(forms(plain.bytes.toString("hex").toUpperCase()).includes("hex"));
  assert.ok(forms(JSON.stringify({ key: special.text }), special).includes("json"));
  assert.ok(forms(Buffer.from(plain.text, "utf16le")).includes("utf-16"));
});

test("a canary that was cut in two is found by its halves", () => {
  assert.deepEqual(forms(plain.text.slice(0, 20)), ["first half"]);
  assert.deepEqual(forms(plain.text.slice(-20)), ["last half"]);
});
