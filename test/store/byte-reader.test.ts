import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteReader } from "../../src/store/byte-reader.ts";

async function* pieces(text: string, size: number, onEnd: () => void = () => {}): AsyncGenerator<Buffer> {
  try {
    for (let at = 0; at < text.length; at += size) yield Buffer.from(text.slice(at, at + size));
  } finally {
    onEnd();
  }
}

test("exact lengths come out whatever the pieces are", async () => {
  for (const size of [1, 2, 3, 5, 100]) {
    const reader = new ByteReader(pieces("abcdefghij", size));
    assert.equal(String(await reader.take(3)), "abc");
    assert.equal(String(await reader.take(0)), "");
    assert.equal(String(await reader.take(5)), "defgh");
    assert.equal(reader.taken, 8);
    assert.equal(String(await reader.take(5)), "ij", "what is left");
    assert.equal(String(await reader.take(5)), "");
    assert.equal(reader.taken, 10);
  }
});

test("a part is never longer than asked for, and empty only at the end", async () => {
  const reader = new ByteReader(pieces("abcdefg", 4));
  const parts: string[] = [];
  for (let part = await reader.some(3); part.length > 0; part = await reader.some(3)) parts.push(String(part));
  assert.deepEqual(parts, ["abc", "d", "efg"]);
});

test("closing lets go of the source, and text instead of bytes is refused", async () => {
  let ended = 0;
  const reader = new ByteReader(pieces("abcdefg", 2, () => ended++));
  await reader.take(3);
  await reader.close();
  await reader.close();
  assert.equal(ended, 1);
  assert.equal((await reader.take(1)).length, 0);
  const decoded = new ByteReader(
    (async function* () {
      yield "text";
    })(),
  );
  await assert.rejects(decoded.take(1), /decoded to text/);
});
