import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { Secret, secretBuffer } from "../src/secret.ts";

const KEY = "sk-0123456789";

test("a secret shows itself nowhere: not printed, not as JSON, not inspected, not joined", () => {
  const secret = Secret.copyOf(Buffer.from(KEY));
  const shown = [
    `${secret}`,
    JSON.stringify({ secret }),
    inspect({ secret }, { depth: 9, showHidden: true }),
    [secret].join(),
  ];
  for (const text of shown) {
    assert.ok(text.includes("[secret]"), text);
    assert.ok(!text.includes(KEY) && !text.includes(Buffer.from(KEY).toString("hex")), text);
  }
});

test("a wiped secret is zeroed, has no length, and cannot be used as if it were a key", () => {
  const bytes = Buffer.from(new ArrayBuffer(KEY.length));
  bytes.write(KEY);
  const secret = Secret.adopt(bytes);
  assert.equal(secret.length, KEY.length);
  secret.wipe();
  secret.wipe();
  assert.ok(bytes.every((byte) => byte === 0));
  assert.equal(secret.length, 0);
  assert.equal(secret.wiped, true);
  assert.throws(() => secret.use(() => "used"), /wiped/);
});

test("a copy is independent of its original", () => {
  const original = Buffer.from(KEY);
  const secret = Secret.copyOf(original);
  original.fill(0);
  assert.equal(
    secret.use((bytes) => bytes.toString()),
    KEY,
  );
});

test("secret buffers have memory of their own, outside V8's heap and Node's pool", () => {
  for (const size of [1, 32, 64, 100, 5000]) {
    const bytes = secretBuffer(size);
    assert.equal(bytes.length, size);
    assert.equal(bytes.byteOffset, 0);
    assert.equal(bytes.buffer.byteLength, size);
  }
});
