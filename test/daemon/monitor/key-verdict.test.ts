import assert from "node:assert/strict";
import { test } from "node:test";
import { isDoubtful, type KeyVerdict, keyVerdict } from "../../../src/daemon/monitor/key-verdict.ts";
import type { TrafficMeaning } from "../../../src/providers/classify-traffic.ts";

const BY_MEANING: Readonly<Record<Exclude<TrafficMeaning, "unknown">, KeyVerdict>> = {
  ok: "accepted",
  plan: "accepted",
  invalid: "doubtful",
  forbidden: "doubtful",
  session: "doubtful",
  quota: null,
  limited: null,
  retired: null,
  unavailable: null,
  request: null,
};

test("what the answer means counts, whatever its status", () => {
  for (const [meaning, verdict] of Object.entries(BY_MEANING) as [TrafficMeaning, KeyVerdict][]) {
    for (const status of [200, 400, 401, 403, 429, 500]) {
      assert.equal(keyVerdict({ status, outcome: "ok", meaning }), verdict, `${meaning} ${status}`);
    }
    assert.equal(isDoubtful(meaning), verdict === "doubtful");
  }
});

test("a bad key that is told with 200 is no success, and a refused plan no bad key", () => {
  assert.equal(keyVerdict({ status: 200, outcome: "ok", meaning: "invalid" }), "doubtful");
  assert.equal(keyVerdict({ status: 403, outcome: "ok", meaning: "plan" }), "accepted");
});

test("without a meaning the status decides; a refusal of sidekey's own says nothing", () => {
  const plain = (status: number, outcome = "ok") => keyVerdict({ status, outcome, meaning: null });
  assert.deepEqual(
    [200, 204, 304].map((status) => plain(status)),
    ["accepted", "accepted", "accepted"],
  );
  assert.deepEqual(
    [401, 403].map((status) => plain(status)),
    ["doubtful", "doubtful"],
  );
  assert.deepEqual(
    [0, 400, 404, 429, 500].map((status) => plain(status)),
    [null, null, null, null, null],
  );
  assert.equal(plain(403, "not_allowed"), null);
  assert.equal(plain(200, "truncated"), "accepted");
});

test("an answer that nobody understands is a reason to ask after 401 and 403 only, and never a success", () => {
  const unknown = (status: number) => keyVerdict({ status, outcome: "ok", meaning: "unknown" });
  assert.deepEqual([200, 400, 401, 403, 500].map(unknown), [null, null, "doubtful", "doubtful", null]);
});
