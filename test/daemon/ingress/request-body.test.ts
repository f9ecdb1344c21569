import assert from "node:assert/strict";
import { once } from "node:events";
import { PassThrough, Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { RequestBody } from "../../../src/daemon/ingress/request-body.ts";
import { pause } from "../../support/running-sidekey.ts";

test("everything that comes is passed on, in order, and counted", async () => {
  const source = new PassThrough();
  const body = new RequestBody(source);
  const all = buffer(body);
  const pieces = Array.from({ length: 100 }, (_, n) => Buffer.alloc(5_000, n));
  for (const piece of pieces) {
    if (!source.write(piece)) await once(source, "drain");
  }
  source.end();
  assert.ok((await all).equals(Buffer.concat(pieces)));
  assert.equal(body.received, 500_000);
});

test("no more is taken than there is room for, and then nobody waits for the client", async () => {
  let given = 0;
  const source = new Readable({
    read() {
      given += 16_384;
      this.push(Buffer.alloc(16_384));
    },
  });
  const body = new RequestBody(source);
  assert.equal(body.waiting, true);
  await pause(20);
  assert.equal(body.waiting, false);
  assert.ok(given < 512 * 1024, `${given} bytes were taken for nobody`);
  const before = given;
  while (given === before) {
    body.read();
    await pause(1);
  }
  body.destroy();
});

test("a body that breaks off ends in an error, one that is complete does not", async () => {
  for (const event of ["aborted", "close", "error"]) {
    const source = new PassThrough();
    const body = new RequestBody(source);
    source.emit(event, new Error("gone"));
    await assert.rejects(buffer(body), { code: "client_closed" }, event);
  }
  const source = new PassThrough();
  const body = new RequestBody(source);
  source.end("all");
  assert.equal(String(await buffer(body)), "all");
  source.emit("close");
  assert.equal(body.errored, null);
});

test("one that is too slow is answered with 408, whoever reads it", async () => {
  const body = new RequestBody(new PassThrough());
  const read = buffer(body);
  body.tooSlow();
  await assert.rejects(read, { code: "bad_request", status: 408, reason: "slow_body" });
  assert.equal(body.waiting, false);
});

test("who destroys it leaves its source alive and paused, for the way back to deal with", async () => {
  const source = new PassThrough();
  const body = new RequestBody(source);
  source.write("some");
  await once(body, "readable");
  body.destroy();
  await once(body, "close");
  assert.equal(source.destroyed, false);
  assert.equal(source.isPaused(), true);
  source.resume().write("more");
  await pause(5);
  assert.equal(source.readableLength, 0, "the rest flows into nothing");
  assert.equal(body.received, 4);
});
