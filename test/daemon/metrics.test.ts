import assert from "node:assert/strict";
import { test } from "node:test";
import { createMetrics } from "../../src/daemon/metrics.ts";
import type { EndedRequest } from "../../src/daemon/metrics-traffic.ts";

const ended: EndedRequest = {
  route: "fmp",
  client: "app",
  credential: "fmp-main",
  outcome: "ok",
  totalMs: 40,
  overheadMs: 0.3,
  upstreamMs: 39,
  tokens: null,
  costNano: null,
  unpriced: false,
  estimated: false,
  scrubbed: 0,
};

/** The value of one series in the exposition text, or null when it is not there. */
function sample(text: string, series: string): number | null {
  const line = text.split("\n").find((candidate) => candidate.startsWith(`${series} `));
  return line === undefined ? null : Number(line.slice(series.length + 1));
}

test("a request is counted by route, client and outcome, and timed in cumulative buckets", async () => {
  const metrics = createMetrics();
  metrics.requestEnded(ended);
  metrics.requestEnded({ ...ended, totalMs: 200 });
  metrics.requestEnded({ ...ended, outcome: "provider_error", totalMs: 900_000 });
  const text = await metrics.render();
  assert.equal(sample(text, 'sidekey_requests_total{route="fmp",client="app",outcome="ok"}'), 2);
  assert.equal(sample(text, 'sidekey_requests_total{route="fmp",client="app",outcome="provider_error"}'), 1);
  assert.equal(sample(text, 'sidekey_injections_total{route="fmp",credential="fmp-main"}'), 3);
  assert.equal(sample(text, 'sidekey_request_seconds_bucket{route="fmp",le="0.025"}'), 0);
  assert.equal(sample(text, 'sidekey_request_seconds_bucket{route="fmp",le="0.05"}'), 1);
  assert.equal(sample(text, 'sidekey_request_seconds_bucket{route="fmp",le="0.25"}'), 2);
  assert.equal(sample(text, 'sidekey_request_seconds_bucket{route="fmp",le="300"}'), 2);
  assert.equal(sample(text, 'sidekey_request_seconds_bucket{route="fmp",le="+Inf"}'), 3);
  assert.equal(sample(text, 'sidekey_request_seconds_count{route="fmp"}'), 3);
  assert.equal(sample(text, 'sidekey_request_seconds_sum{route="fmp"}'), 900.24);
  assert.equal(sample(text, 'sidekey_overhead_seconds_bucket{route="fmp",le="0.0005"}'), 3);
});

test("counters do not grow by being scraped", async () => {
  const metrics = createMetrics();
  metrics.requestEnded(ended);
  metrics.denied("path_not_on_route");
  await metrics.render();
  const text = await metrics.render();
  assert.equal(sample(text, 'sidekey_requests_total{route="fmp",client="app",outcome="ok"}'), 1);
  assert.equal(sample(text, 'sidekey_denials_total{reason="path_not_on_route"}'), 1);
  assert.equal(sample(text, 'sidekey_request_seconds_count{route="fmp"}'), 1);
});

test("unknown routes and clients are `other`, and no label grows without bound", async () => {
  const metrics = createMetrics();
  metrics.requestEnded({ ...ended, route: null, client: null, credential: null });
  for (let n = 0; n < 5000; n++) {
    metrics.requestEnded({ ...ended, credential: `user-${n}`, client: `c${n}`, costNano: 1_000_000_000 });
  }
  const text = await metrics.render();
  assert.equal(sample(text, 'sidekey_cost_usd_total{route="fmp",credential="other"}'), 4500);
  assert.equal(sample(text, 'sidekey_requests_total{route="other",client="other",outcome="ok"}'), 1);
  assert.equal(sample(text, 'sidekey_injections_total{route="fmp",credential="other"}'), 4500);
  assert.ok(text.split("\n").filter((line) => line.startsWith("sidekey_requests_total")).length < 600);
});

test("tokens, cost and what is not known of it are counted by route, money without the noise of fractions", async () => {
  const metrics = createMetrics();
  const tokens = { input: 100, cachedInput: 40, cacheWrite: 3, output: 22, reasoning: 5 };
  // 0.1 + 0.2 dollars, which would be 0.30000000000000004 as fractions.
  metrics.requestEnded({ ...ended, tokens, costNano: 100_000_000, scrubbed: 2 });
  metrics.requestEnded({ ...ended, tokens, costNano: 200_000_000, estimated: true });
  metrics.requestEnded({ ...ended, credential: null, unpriced: true, costNano: 0 });
  metrics.requestEnded({ ...ended, route: "quotes" });
  const text = await metrics.render();
  const counted = ["input", "cached_input", "cache_write", "output", "reasoning"].map((direction) =>
    sample(text, `sidekey_tokens_total{route="fmp",direction="${direction}"}`),
  );
  assert.deepEqual(counted, [200, 80, 6, 44, 10]);
  assert.equal(sample(text, 'sidekey_cost_usd_total{route="fmp",credential="fmp-main"}'), 0.3);
  assert.equal(sample(text, 'sidekey_cost_usd_total{route="fmp",credential="other"}'), 0);
  assert.equal(sample(text, 'sidekey_unpriced_total{route="fmp"}'), 1);
  assert.equal(sample(text, 'sidekey_usage_estimated_total{route="fmp"}'), 1);
  assert.equal(sample(text, 'sidekey_scrubbed_total{route="fmp"}'), 2);
  assert.equal(sample(text, 'sidekey_unpriced_total{route="quotes"}'), 0);
  assert.equal(sample(text, 'sidekey_tokens_total{route="quotes",direction="input"}'), null);
  assert.equal(sample(text, 'sidekey_cost_usd_total{route="quotes",credential="fmp-main"}'), null);
});

test("requests sent once more and requests refused for overload are counted by reason", async () => {
  const metrics = createMetrics();
  metrics.retried("fmp", "limited");
  metrics.retried("fmp", "limited");
  metrics.overloaded("saturated");
  await metrics.render();
  const text = await metrics.render();
  assert.equal(sample(text, 'sidekey_retries_total{route="fmp",reason="limited"}'), 2);
  assert.equal(sample(text, 'sidekey_overload_total{reason="saturated"}'), 1);
});

test("label values cannot break out of their quotes", async () => {
  const metrics = createMetrics();
  metrics.requestEnded({ ...ended, route: 'a"} 1\nevil 2' });
  const text = await metrics.render();
  assert.ok(!text.includes("\nevil"));
});

test("sources are read at scrape time, and one that throws leaves only its own metric out", async () => {
  const metrics = createMetrics();
  assert.equal(sample(await metrics.render(), "sidekey_vault_sealed"), null);
  let sealed = true;
  metrics.observe({
    vaultSealed: () => sealed,
    usageQueued: () => 7,
    usageDropped: () => 3,
    auditEntries: () => {
      throw new Error("vault closed");
    },
    credentials: () => [{ name: "fmp-main", state: "expiring", expiresAt: 1_800_000_000_000 }],
    limits: () => [{ route: "fmp", limit: "plan", remaining: 12 }],
    alertsOpened: () =>
      new Map([
        ["pool_empty", 2],
        ["unknown_host", 0],
      ]),
    alertsOpen: () => [{ severity: "critical" }, { severity: "warning" }, { severity: "critical" }],
  });
  assert.equal(sample(await metrics.render(), "sidekey_vault_sealed"), 1);
  sealed = false;
  const text = await metrics.render();
  assert.equal(sample(text, "sidekey_vault_sealed"), 0);
  assert.equal(sample(text, "sidekey_audit_entries_total"), null);
  assert.equal(sample(text, "sidekey_usage_queue"), 7);
  assert.equal(sample(text, "sidekey_usage_dropped_total"), 3);
  assert.equal(sample(text, 'sidekey_credential_state{credential="fmp-main",state="expiring"}'), 1);
  assert.equal(sample(text, 'sidekey_credential_expires_timestamp_seconds{credential="fmp-main"}'), 1_800_000_000);
  assert.equal(sample(text, 'sidekey_limit_remaining{route="fmp",limit="plan"}'), 12);
  assert.equal(sample(text, 'sidekey_alerts_open{severity="critical"}'), 2);
  assert.equal(sample(text, 'sidekey_alerts_open{severity="info"}'), 0);
  assert.equal(sample(text, 'sidekey_alerts_opened_total{kind="pool_empty"}'), 2);
  assert.equal(sample(text, 'sidekey_alerts_opened_total{kind="unknown_host"}'), 0);
  assert.ok(sample(text, "process_resident_memory_bytes"));
});

test("a reload shows its success and the revision in force", async () => {
  const metrics = createMetrics();
  metrics.policyReloaded(true, "abc123");
  metrics.policyReloaded(false, "abc123");
  const text = await metrics.render();
  assert.equal(sample(text, "sidekey_policy_reload_success"), 0);
  assert.equal(sample(text, 'sidekey_policy_revision_info{revision="abc123"}'), 1);
});

test("waits for a limit are a histogram of their own", async () => {
  const metrics = createMetrics();
  metrics.limitWaited("fmp", "plan", 300);
  const text = await metrics.render();
  assert.equal(sample(text, 'sidekey_limit_wait_seconds_bucket{route="fmp",limit="plan",le="0.25"}'), 0);
  assert.equal(sample(text, 'sidekey_limit_wait_seconds_bucket{route="fmp",limit="plan",le="0.5"}'), 1);
});

test("recording a request costs microseconds at most", () => {
  const metrics = createMetrics();
  const runs = 20_000;
  const rounds = Array.from({ length: 10 }, () => {
    const start = process.hrtime.bigint();
    for (let n = 0; n < runs; n++) metrics.requestEnded(ended);
    return Number(process.hrtime.bigint() - start) / 1000 / runs;
  });
  // The best round, because other processes share the machine; about 0.1 us when measured alone.
  assert.ok(Math.min(...rounds) < 2, `${Math.min(...rounds)} us per request`);
});

test("the newest backup's time is there once there is one", async () => {
  const metrics = createMetrics();
  assert.doesNotMatch(await metrics.render(), /^sidekey_backup_last_success_timestamp_seconds/m);
  let at: number | undefined;
  metrics.observe({ lastBackupSeconds: () => at });
  assert.doesNotMatch(await metrics.render(), /^sidekey_backup_last_success_timestamp_seconds/m);
  at = 1_700_000_000.5;
  assert.match(await metrics.render(), /^sidekey_backup_last_success_timestamp_seconds 1700000000\.5$/m);
});
