import assert from "node:assert/strict";
import { test } from "node:test";
import { acceptanceOf, codingOf } from "../../../src/daemon/pipeline/content-coding.ts";

test("one known coding can be read, in any case and with identity beside it; anything else cannot", () => {
  for (const [values, coding] of [
    [[], "identity"],
    [[""], "identity"],
    [["identity"], "identity"],
    [["GZip"], "gzip"],
    [["x-gzip"], "gzip"],
    [["identity, br"], "br"],
    [[" zstd ", "identity"], "zstd"],
    [["deflate"], "deflate"],
    [["compress"], null],
    [["gzip, gzip"], null],
    [["gzip", "br"], null],
    [["gzip;q=1"], null],
    [["__proto__"], null],
  ] as const) {
    assert.equal(codingOf(values), coding, JSON.stringify(values));
  }
});

test("asked for is what the client takes and sidekey reads, the preferred first", () => {
  for (const [value, ask, mustEncode] of [
    [null, null, null],
    ["", null, null],
    ["gzip", "gzip", null],
    ["gzip, deflate, br, zstd", "gzip, deflate, br, zstd", null],
    ["br;q=0.9, gzip;q=0.8", "br, gzip", null],
    ["*", "gzip, deflate, br, zstd", null],
    ["*;q=0, br", "br", "br"],
    ["identity;q=0, gzip", "gzip", "gzip"],
    ["identity;q=0, gzip;q=0.1, zstd;q=0.2", "zstd, gzip", "zstd"],
    ["compress, dcb", "identity", null],
    ["gzip;q=0", "identity", null],
    ["identity;q=0", "identity", null],
    ["gzip;q=2, br;q=x", "identity", null],
    ["gzip, gzip;q=0", "gzip", null],
    ["x-gzip", "gzip", null],
  ] as const) {
    assert.deepEqual(acceptanceOf(value), { ask, mustEncode }, String(value));
  }
});
