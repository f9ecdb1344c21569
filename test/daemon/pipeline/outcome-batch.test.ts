import assert from "node:assert/strict";
import { test } from "node:test";
import type { Outcome } from "../../../src/daemon/pipeline/exchange.ts";
import { OutcomeBatch } from "../../../src/daemon/pipeline/outcome-batch.ts";
import { NOTHING_SPENT } from "../../../src/daemon/pipeline/settle.ts";
import { pause } from "../../support/running-sidekey.ts";

function outcome(id: string): Outcome {
  return {
    id,
    atMs: 0,
    form: "absolute",
    method: "GET",
    host: "api.p.test",
    path: "/",
    client: "app",
    user: null,
    route: "p",
    provider: "p",
    credential: null,
    version: null,
    status: 200,
    outcome: "ok",
    reason: null,
    bytesUp: 0,
    bytesDown: 0,
    totalMs: 1,
    upstreamMs: null,
    waitMs: 0,
    attempts: 0,
    ...NOTHING_SPENT,
    scrubbed: 0,
  };
}

function batch() {
  const seen = { usage: 0, log: [] as string[], metrics: 0 };
  const outcomes = new OutcomeBatch({
    usage: { record: () => seen.usage++ },
    log: { request: ({ id }) => seen.log.push(id) },
    metrics: { requestEnded: () => seen.metrics++, denied: () => {} },
  });
  return { seen, outcomes };
}

test("every outcome is recorded once, in order: when asked, when many are pending, by itself, and at the end", async (t) => {
  const { seen, outcomes } = batch();
  t.after(() => outcomes.close());
  for (const id of ["1", "2", "3"]) outcomes.add(outcome(id));
  assert.equal(seen.log.length, 0);
  outcomes.flush();
  outcomes.flush();
  assert.deepEqual([seen.log, seen.usage, seen.metrics], [["1", "2", "3"], 3, 3]);
  for (let n = 0; n < 256; n++) outcomes.add(outcome(`${n}`));
  assert.equal(seen.usage, 259, "a full batch does not wait");
  outcomes.add(outcome("late"));
  const deadline = performance.now() + 2_000;
  while (seen.usage < 260 && performance.now() < deadline) await pause(5);
  assert.equal(seen.usage, 260);
  outcomes.add(outcome("last"));
  outcomes.close();
  assert.deepEqual([seen.log.at(-1), seen.usage], ["last", 261]);
});

test("closing leaves no exit hook behind", () => {
  const before = process.listenerCount("exit");
  const { outcomes } = batch();
  assert.equal(process.listenerCount("exit"), before + 1);
  outcomes.close();
  assert.equal(process.listenerCount("exit"), before);
});
