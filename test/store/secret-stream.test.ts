import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import * as crypto from "../../src/store/crypto.ts";
import { STREAM_EXTRA_BYTES, StreamOpener, StreamSealer } from "../../src/store/secret-stream.ts";

const PARTS = ["first", "", "the third part", "last"].map((text) => Buffer.from(text));

function sealAll(key: Buffer): { header: Buffer; chunks: Buffer[] } {
  const sealer = new StreamSealer(key);
  const chunks = PARTS.map((part, at) => sealer.push(part, at === PARTS.length - 1));
  sealer.wipe();
  return { header: sealer.header, chunks };
}

describe("secret stream", () => {
  before(crypto.ready);

  it("gives back every chunk, and says which one is the last", () => {
    const key = crypto.randomBytes(32);
    const { header, chunks } = sealAll(key);
    assert.deepEqual(
      chunks.map((chunk, at) => chunk.length - (PARTS[at]?.length ?? 0)),
      PARTS.map(() => STREAM_EXTRA_BYTES),
    );
    const opener = new StreamOpener(key, header);
    const opened = chunks.map((chunk) => opener.pull(chunk));
    assert.deepEqual(
      opened.map(({ plain }) => plain),
      PARTS,
    );
    assert.deepEqual(
      opened.map(({ last }) => last),
      [false, false, false, true],
    );
  });

  it("opens no chunk out of its place, of another stream, changed, or under another key", () => {
    const key = crypto.randomBytes(32);
    const { header, chunks } = sealAll(key);
    const other = sealAll(key);
    const [first = Buffer.alloc(0), second = Buffer.alloc(0)] = chunks;
    const refused = (opener: StreamOpener, chunk: Buffer): void => {
      assert.throws(() => opener.pull(chunk), crypto.DecryptError);
    };
    refused(new StreamOpener(key, header), second);
    refused(new StreamOpener(key, other.header), first);
    refused(new StreamOpener(key, header), other.chunks[0] ?? first);
    refused(new StreamOpener(crypto.randomBytes(32), header), first);
    refused(new StreamOpener(key, header), first.subarray(0, -1));
    refused(new StreamOpener(key, header), Buffer.alloc(3));
    const again = new StreamOpener(key, header);
    again.pull(first);
    refused(again, first);
    for (let at = 0; at < first.length; at++) {
      const changed = Buffer.from(first);
      changed[at] = (changed[at] ?? 0) ^ 1;
      refused(new StreamOpener(key, header), changed);
    }
  });

  it("leaves neither the key nor what it sealed in libsodium's memory", () => {
    const key = crypto.randomBytes(32);
    const plain = crypto.randomBytes(70_000);
    const sealer = new StreamSealer(key);
    const chunk = sealer.push(plain, true);
    const opener = new StreamOpener(key, sealer.header);
    opener.pull(chunk);
    sealer.wipe();
    opener.wipe();
    const heap = crypto.testOnlyHeap();
    for (const needle of [key, plain.subarray(0, 16), plain.subarray(-16)]) assert.equal(heap.indexOf(needle), -1);
  });

  it("reads a stream that libsodium's own interface made, and the other way round", async () => {
    const { default: sodium } = await import("libsodium-wrappers");
    await sodium.ready;
    const key = crypto.randomBytes(32);
    const { state, header } = sodium.crypto_secretstream_xchacha20poly1305_init_push(key);
    const final = sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL;
    const theirs = sodium.crypto_secretstream_xchacha20poly1305_push(state, Buffer.from("hello"), null, final);
    const opened = new StreamOpener(key, header).pull(theirs);
    assert.deepEqual([opened.plain.toString(), opened.last], ["hello", true]);
    const ours = sealAll(key);
    const pull = sodium.crypto_secretstream_xchacha20poly1305_init_pull(ours.header, key);
    const read = ours.chunks.map((chunk) => sodium.crypto_secretstream_xchacha20poly1305_pull(pull, chunk, null));
    assert.deepEqual(
      read.map((part) => part !== false && Buffer.from(part.message).toString()),
      PARTS.map(String),
    );
  });
});
