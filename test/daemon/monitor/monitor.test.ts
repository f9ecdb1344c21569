import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { createMetrics } from "../../../src/daemon/metrics.ts";
import { startMonitor } from "../../../src/daemon/monitor/monitor.ts";
import { nodeTimer, steadyClockUs } from "../../../src/daemon/pipeline/clock.ts";
import { Dialer } from "../../../src/daemon/pipeline/dial.ts";
import type { Outcome } from "../../../src/daemon/pipeline/exchange.ts";
import { createLimiter } from "../../../src/daemon/pipeline/limiter.ts";
import { createProviderLimits } from "../../../src/daemon/pipeline/provider-limits.ts";
import { Splice } from "../../../src/daemon/pipeline/splice.ts";
import { watchVault } from "../../../src/daemon/vault-view.ts";
import { compilePolicy } from "../../../src/policy/compile.ts";
import { LimitTable } from "../../../src/policy/limit.ts";
import { parsePolicy } from "../../../src/policy/parse.ts";
import { CATALOG } from "../../support/rotation-scene.ts";
import { startStandIn } from "../../support/stand-in.ts";
import { fields, newCredential, newVault } from "../../support/vault-fixture.ts";
import { outcomeOf } from "./watch/outcome.ts";

const HOST = "api.openai.com";
const KEY = `sk-${"k".repeat(48)}`;
const POLICY = `version: 1\nclients: { app: { token: true } }\nroutes:\n  ai: { provider: openai, credentials: [main], clients: [app] }\n`;

async function scene(t: TestContext) {
  const answer = { status: 200, body: '{"data":[]}' };
  const standIn = await startStandIn(t, { hostnames: [HOST], handler: () => answer });
  const { vault, directory } = await newVault(t);
  const openai = newCredential("main", { provider: "openai", category: "ai", hosts: [HOST] });
  const { id } = vault.addCredential(openai, fields({ api_key: KEY }), "ana");
  const view = watchVault(vault, () => {}, assert.ifError);
  const splice = new Splice();
  const overrides = new Map([[HOST, { address: "127.0.0.1", port: standIn.port, ca: standIn.caPem }]]);
  const dialer = new Dialer({ overrides, proxy: null, isOwnListener: () => false, splice, socketsPerPool: 4 });
  const known = { credentials: new Map(), clients: new Set(["app"]) };
  const { snapshot } = compilePolicy(parsePolicy(POLICY, "policy.yaml"), { providers: CATALOG }, known, "r1");
  const lines: string[] = [];
  const line = (msg: string, more: object = {}): void => void lines.push(`${msg} ${JSON.stringify(more)}`);
  const quiet = { debug: line, info: line, warn: line, error: line, fatal: line, request: () => {}, flush: () => {} };
  const monitor = startMonitor({
    dataDir: directory,
    checkMs: null,
    vault,
    view,
    log: { ...quiet, close: () => {} },
    metrics: createMetrics(),
    limiter: createLimiter({ table: new LimitTable(), nowUs: steadyClockUs, setTimer: nodeTimer }),
    liveLimits: createProviderLimits({
      nowMs: Date.now,
      setTimer: nodeTimer,
      random: () => 0.5,
      countedTogether: () => null,
    }),
    limitsNowMs: Date.now,
    splice,
    dialer,
    policy: { current: () => snapshot, provider: (name) => CATALOG.get(name) },
    now: Date.now,
  });
  t.after(async () => {
    monitor.close();
    view.close();
    await dialer.close();
  });
  const ended = (changes: Partial<Outcome>): void => {
    const place = { host: HOST, provider: "openai", route: "ai", credential: "main", version: 1 };
    monitor.observe(outcomeOf({ ...place, atMs: Date.now(), ...changes }));
  };
  return { monitor, standIn, answer, ended, id, lines };
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 8_000;
  while (!holds()) {
    if (performance.now() > deadline) assert.fail(`not in time: ${what}`);
    await pause(10);
  }
}

for (const status of [200, 400]) {
  test(`a bad key that the provider tells with ${status} is asked about, and goes out of use when it says so again`, async (t) => {
    const { monitor, standIn, answer, ended, id } = await scene(t);
    Object.assign(answer, { status: 401, body: '{"error":{"code":"invalid_api_key"}}' });
    ended({ status, meaning: "invalid" });
    await until("it is out of use", () => !monitor.usable(id, 1));
    assert.deepEqual(
      standIn.requests.map(({ target }) => target),
      ["/v1/models"],
    );
  });
}

test("an answer that says something else is no reason to ask, whatever its status", async (t) => {
  const { monitor, standIn, ended, id } = await scene(t);
  for (const meaning of ["plan", "quota", "limited", "retired", "request", "unavailable", "ok"] as const) {
    ended({ status: 403, meaning });
    monitor.doubted(id, 1, meaning);
  }
  monitor.doubted("nobody", 1, "invalid");
  assert.equal(monitor.health.get(id, 1), undefined);
  monitor.doubted(id, 1, "session");
  await until("it was asked", () => monitor.health.get(id, 1)?.state === "valid");
  assert.equal(standIn.requests.length, 1);
});

test("what traffic shows becomes an alert at the next look, and a part that fails keeps no other from looking", async (t) => {
  const { monitor, ended, lines } = await scene(t);
  const told: string[] = [];
  monitor.alerts.subscribe(({ what, alert }) => told.push(`${what} ${alert.kind}`));
  ended({ status: 402, meaning: "quota" });
  for (let n = 0; n < 10; n++) ended({ status: 503, meaning: "unavailable" });
  await until("both", () => told.length === 2);
  assert.deepEqual(told, ["opened provider_quota", "opened provider_failing"]);
  assert.ok(!lines.join().includes(KEY));
  monitor.watch.connect({
    usedPercent: () => {
      throw new Error("a counter is broken");
    },
  });
  const budget = { calendar: null, strict: false, unpriced: "deny", warn: [50] } as const;
  const amounts = { count: 1e9, periodMs: 1e3, burst: 1e9, waitMs: 0, mode: "enforce" } as const;
  const spec = { name: "spend", kind: "usd", per: ["route"], ...amounts, budget } as const;
  monitor.watch.budget({ spec, key: "usd\nspend\nai", percent: 50, used: 5e8, limit: 1e9, resetMs: 3_600_000 });
  monitor.alerts.raise("unknown_host", "client:app", "info", "m", Date.now() + 10);
  const open = () => monitor.alerts.open().map(({ kind }) => kind);
  await until("it has lapsed", () => !open().includes("unknown_host"));
  assert.ok(open().includes("budget_threshold"));
});
