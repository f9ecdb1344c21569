import assert from "node:assert/strict";
import test from "node:test";
import { RequestBucket } from "../../src/policy/limit-bucket.ts";

const SPEC = { count: 4, periodMs: 1, burst: 2 };

function granting(...times: number[]): RequestBucket {
  const bucket = new RequestBucket(SPEC);
  for (const us of times) {
    assert.equal(bucket.readyAt(SPEC, us), us);
    assert.equal(bucket.grant(SPEC, us), us);
  }
  return bucket;
}

test("the next grant waits for the pace or for the window, whichever is later", () => {
  assert.equal(granting().readyAt(SPEC, 7), 7);
  assert.equal(granting(0).readyAt(SPEC, 7), 7);
  assert.equal(granting(0, 0).readyAt(SPEC, 7), 250);
  assert.equal(granting(0, 0, 250, 500).readyAt(SPEC, 600), 1000);
  assert.equal(granting(0, 0, 250, 500).readyAt(SPEC, 1000), 1000);
});

test("looking changes nothing", () => {
  const bucket = granting(0, 0, 250);
  const before = bucket.exportState();
  for (const us of [0, 250, 10_000]) {
    bucket.readyAt(SPEC, us);
    bucket.remaining(SPEC, us);
    bucket.readyAt({ ...SPEC, count: 9 }, us);
  }
  assert.equal(bucket.exportState(), before);
});

test("a bucket is idle once both bounds have forgotten its grants", () => {
  assert.equal(granting(0, 0).idleAt(), 1000);
  assert.equal(granting().idleAt(), Number.NEGATIVE_INFINITY);
  assert.deepEqual(granting(0, 0, 250).remaining(SPEC, 500), { remaining: 1, fullAtUs: 1250 });
});

test("a grant given back is as if it had never been, wherever it stood", () => {
  const bucket = granting(0, 0, 250, 500);
  bucket.giveBack(250);
  assert.equal(bucket.readyAt(SPEC, 600), 600);
  bucket.giveBack(999);
  assert.equal(bucket.remaining(SPEC, 600).remaining, 1);
});

test("an exported bucket is the same bucket, and one that never granted is nothing", () => {
  assert.equal(granting().exportState(), null);
  const state = granting(0, 0, 250).exportState() ?? "";
  assert.equal(state, '{"v":1,"count":4,"periodUs":1000,"burst":2,"base":null,"latest":250,"grants":[0,0,250]}');
  assert.equal(RequestBucket.importState(state, 250)?.exportState(), state);
  assert.equal(RequestBucket.importState("nonsense", 0), null);
});

test("old grants are folded away, so that memory follows the limit and not the traffic", () => {
  const bucket = new RequestBucket(SPEC);
  for (let us = 0; us < 1_000_000; us += 250) bucket.grant(SPEC, us);
  assert.ok((bucket.exportState() ?? "").length < 200);
});
