import assert from "node:assert/strict";
import { test } from "node:test";
import {
  brotliCompressSync,
  brotliDecompressSync,
  deflateRawSync,
  deflateSync,
  gunzipSync,
  gzipSync,
  inflateSync,
  zstdCompressSync,
  zstdDecompressSync,
} from "node:zlib";
import type { Coding } from "../../../src/daemon/pipeline/content-coding.ts";
import {
  type CodingStage,
  decodeWhole,
  type StageEvents,
  startDecoding,
  startEncoding,
} from "../../../src/daemon/pipeline/decode.ts";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";

const PACKED: readonly (readonly [Coding, (bytes: Buffer) => Buffer])[] = [
  ["gzip", gzipSync],
  ["deflate", deflateSync],
  ["deflate", deflateRawSync],
  ["br", brotliCompressSync],
  ["zstd", zstdCompressSync],
];
const MEGABYTE = 1024 * 1024;

/** Everything that comes out of a stage, or the reason of its failure. */
function through(
  start: (events: StageEvents) => CodingStage,
  chunks: readonly Buffer[],
): Promise<{ bytes: Buffer; reason: string | null }> {
  return new Promise((resolve) => {
    const out: Buffer[] = [];
    const settle = (reason: string | null): void => resolve({ bytes: Buffer.concat(out), reason });
    const stage = start({
      onData: (chunk) => out.push(chunk),
      onEnd: () => settle(null),
      onDrain: () => {},
      onError: (error) => settle(error.reason),
    });
    for (const chunk of chunks) stage.write(chunk);
    stage.end();
  });
}

test("every coding is read, whole and byte by byte, zlib headers there or left out", async () => {
  const plain = Buffer.from('{"text":"häufig, häufig, häufig"}'.repeat(20));
  for (const [coding, pack] of PACKED) {
    const packed = pack(plain);
    assert.deepEqual(decodeWhole(coding, packed), plain, coding);
    const bytewise = Array.from(packed, (byte) => Buffer.from([byte]));
    assert.deepEqual(await through((events) => startDecoding(coding, events), bytewise), {
      bytes: plain,
      reason: null,
    });
  }
});

test("several gzip members are one answer, and an empty body is empty in every coding", async () => {
  const members = Buffer.concat([gzipSync("one "), gzipSync("two")]);
  assert.equal(decodeWhole("gzip", members).toString(), "one two");
  for (const [coding] of PACKED) {
    assert.deepEqual(await through((events) => startDecoding(coding, events), []), {
      bytes: Buffer.alloc(0),
      reason: null,
    });
  }
});

test("what is cut or in another coding is an error of the provider", async () => {
  const plain = Buffer.from("x".repeat(1000) + Math.PI);
  for (const [coding, pack] of PACKED) {
    for (const bytes of [pack(plain).subarray(0, 10), Buffer.from("no coding at all")]) {
      const { reason } = await through((events) => startDecoding(coding, events), [bytes]);
      assert.equal(reason, "coding_broken", `${coding} ${bytes}`);
      assert.throws(
        () => decodeWhole(coding, bytes),
        (error) =>
          error instanceof ProxyError && error.code === "upstream_protocol" && error.reason === "coding_broken",
      );
    }
  }
});

test("an answer that unpacks to more than a hundred times its size is stopped early", async () => {
  const zeros = Buffer.alloc(16 * MEGABYTE);
  for (const [coding, pack] of PACKED) {
    const bomb = pack(zeros);
    const { bytes, reason } = await through((events) => startDecoding(coding, events), [bomb]);
    assert.equal(reason, "coding_ratio", coding);
    assert.ok(bytes.length < Math.max(8 * MEGABYTE, bomb.length * 101), `${coding}: ${bytes.length}`);
    assert.throws(
      () => decodeWhole(coding, bomb),
      (error) => error instanceof ProxyError && error.reason === "coding_ratio",
    );
  }
});

test("small answers may be as regular as they like", () => {
  const regular = Buffer.alloc(MEGABYTE / 2, "0");
  for (const [coding, pack] of PACKED) assert.ok(decodeWhole(coding, pack(regular)).equals(regular), coding);
});

test("what is encoded for a client can be read before the stream ends", async () => {
  const readers = { gzip: gunzipSync, deflate: inflateSync, br: brotliDecompressSync, zstd: zstdDecompressSync };
  for (const coding of ["gzip", "deflate", "br", "zstd"] as const) {
    const { bytes } = await through(
      (events) => startEncoding(coding, events),
      [Buffer.from("one "), Buffer.from("two")],
    );
    assert.equal(readers[coding](bytes).toString(), "one two", coding);
    const flushed = await new Promise<Buffer>((resolve) => {
      const stage = startEncoding(coding, { onData: resolve, onEnd() {}, onDrain() {}, onError() {} });
      stage.write(Buffer.from("data: event\n\n"));
    });
    assert.ok(flushed.length > 0, coding);
  }
});
