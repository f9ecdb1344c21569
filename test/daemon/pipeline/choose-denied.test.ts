import assert from "node:assert/strict";
import { test } from "node:test";
import { noneReady, type Standing } from "../../../src/daemon/pipeline/choose-denied.ts";
import type { HoldReason } from "../../../src/daemon/pipeline/pool-health.ts";
import { routeWith } from "./pool-fixture.ts";

const NOW = 1_700_000_000_000;
const ROUTE = routeWith("[p-main, p-spare]");

const held = (why: HoldReason, inMs: number): Standing => ({ why, untilMs: NOW + inMs });

function denied(main: Standing, spare: Standing, user: string | null = null) {
  const candidates = [
    { name: "p-main", standing: main },
    { name: "p-spare", standing: spare },
  ];
  const { code, status, reason, fields, publicMessage } = noneReady(ROUTE, user, candidates, NOW);
  return { code, status, reason, retryAfter: fields[1] ?? null, publicMessage };
}

test("what comes back first decides what the client is told, and when it may come again", () => {
  const table: readonly [Standing, Standing, code: string, status: number, reason: string | null, after: string][] = [
    [held("provider_limit", 1_500), "absent", "limit_exceeded", 429, "provider_limit", "2"],
    [held("provider_limit", 1_500), held("failing", 9_000), "limit_exceeded", 429, "provider_limit", "2"],
    [held("provider_limit", 9_500), held("failing", 9_000), "upstream_unavailable", 503, null, "9"],
    [held("quota", 300_000), "unusable", "no_usable_credential", 503, "quota_used_up", "300"],
    [held("quota", 300_000), "out", "no_usable_credential", 503, "quota_used_up", "300"],
    [held("failing", 1), { sealed: "demo" }, "upstream_unavailable", 503, null, "1"],
    [held("failing", -5), "tried", "upstream_unavailable", 503, null, "1"],
  ];
  for (const [main, spare, code, status, reason, after] of table) {
    const told = denied(main, spare);
    assert.deepEqual([told.code, told.status, told.reason, told.retryAfter], [code, status, reason, after]);
    assert.match(told.publicMessage, new RegExp(`try again in ${after} s$`));
  }
});

test("the answer names each credential and what keeps it", () => {
  assert.equal(
    denied(held("provider_limit", 1_500), held("quota", 60_000)).publicMessage,
    "route p: credential p-main is held by its provider's limit (2 s), credential p-spare has nothing left at its provider (60 s); try again in 2 s",
  );
  const words: readonly [Standing, RegExp][] = [
    ["out", /p-spare is refused by its provider/],
    ["absent", /p-spare does not exist/],
    ["unusable", /p-spare is disabled, expired or for another host/],
    ["tried", /p-spare was tried/],
    [{ sealed: "demo" }, /p-spare is sealed/],
    [held("failing", 2_000), /p-spare gets no answer, or only failures, from its provider \(2 s\)/],
  ];
  for (const [standing, says] of words) assert.match(denied(held("quota", 1), standing).publicMessage, says);
});

test("without anything that comes back by itself the answer names the next step", () => {
  assert.equal(denied({ sealed: "trading" }, "out").code, "vault_sealed");
  for (const [main, spare, reason] of [
    ["absent", "unusable", null],
    ["out", "unusable", "out_of_use"],
    ["tried", "out", "out_of_use"],
    ["tried", "tried", null],
  ] as const) {
    const told = denied(main, spare);
    assert.deepEqual([told.code, told.reason, told.retryAfter], ["no_usable_credential", reason, null]);
    assert.match(told.publicMessage, /none of its credentials \(p-main, p-spare\).*sidekey credential add p/);
  }
  assert.match(denied("unusable", "unusable", "u7").publicMessage, /no credential of user u7 exists, is enabled/);
});

test("a long pool is not listed to its end", () => {
  const candidates = Array.from({ length: 500 }, (_, n) => ({ name: `k${n}`, standing: held("failing", 1_000) }));
  const { publicMessage } = noneReady(ROUTE, null, candidates, NOW);
  assert.match(publicMessage, /k7 .*, 492 more; try again in 1 s$/);
  assert.ok(!publicMessage.includes("k8"));
});

test("a route without a credential is told of its provider alone", () => {
  const { code, publicMessage } = noneReady(ROUTE, null, [{ name: null, standing: held("failing", 3_000) }], NOW);
  assert.equal(code, "upstream_unavailable");
  assert.equal(
    publicMessage,
    "route p: it gets no answer, or only failures, from its provider (3 s); try again in 3 s",
  );
});
