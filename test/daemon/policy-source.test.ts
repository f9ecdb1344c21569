import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { createPolicySource, type PolicySource, type ReloadResult } from "../../src/daemon/policy-source.ts";
import type { KnownObjects } from "../../src/policy/compile.ts";
import { tempDir } from "../support/temp-dir.ts";

const PROVIDER = `id: fmp
name: FMP
category: market-data
docs: https://docs.example.test/
keyPage: https://keys.example.test/
sources: ["https://docs.example.test/ (D)"]
environments:
  live: { hosts: [api.example.test] }
fields:
  api_key: { label: API key, secret: true }
auth:
  - scheme: query
    query: { apikey: api_key }
carriers: { headers: [], query: [apikey], body: [], cookies: [] }
probe: { method: GET, path: /v1, valid: [200], invalid: [401] }
rotation: { kind: none }
`;

const policyText = (client: string, path = "/v1/**"): string => `version: 1
clients:
  ${client}: { token: true }
routes:
  fmp:
    provider: fmp
    credentials: [fmp-main]
    clients: [${client}]
    allow: [ { methods: [GET], paths: [${path}] } ]
`;

const KNOWN: KnownObjects = {
  credentials: new Map([["fmp-main", { provider: "fmp", environment: "live" }]]),
  clients: new Set(["app"]),
};

interface Bench {
  policyFile: string;
  providersDir: string;
  results: ReloadResult[];
  start(known?: () => KnownObjects): Promise<PolicySource>;
}

function bench(t: TestContext): Bench {
  const root = tempDir(t);
  const [policyFile, providersDir] = [join(root, "policy.yaml"), join(root, "providers")];
  mkdirSync(providersDir);
  writeFileSync(policyFile, policyText("app"));
  writeFileSync(join(providersDir, "fmp.yaml"), PROVIDER);
  const results: ReloadResult[] = [];
  return {
    policyFile,
    providersDir,
    results,
    async start(known = () => KNOWN) {
      const onReload = (result: ReloadResult): void => void results.push(result);
      const source = await createPolicySource({ policyFile, providersDir, known, onReload, pollMs: 15, settleMs: 20 });
      t.after(() => source.close());
      return source;
    },
  };
}

async function until(condition: () => boolean): Promise<void> {
  for (let n = 0; n < 400 && !condition(); n++) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(condition(), "nothing happened");
}

test("the policy is loaded with a revision of its own text and the catalog's", async (t) => {
  const { start, providersDir } = bench(t);
  const source = await start();
  const { revision } = source.current();
  assert.match(revision, /^[0-9a-f]{12}$/);
  assert.deepEqual([...source.current().interceptHosts], ["api.example.test"]);
  assert.deepEqual(source.health(), { ok: true, problems: [] });
  assert.deepEqual(source.warnings(), []);
  const same = await source.reload("command");
  assert.deepEqual([same.ok, same.changed, same.revision], [true, false, revision]);
  writeFileSync(join(providersDir, "fmp.yaml"), `${PROVIDER}# a comment\n`);
  assert.equal((await source.reload("command")).changed, true);
  assert.notEqual(source.current().revision, revision);
});

test("G10 last-good: a bad policy changes nothing but the reported problems, and the next good one takes over", async (t) => {
  const { start, policyFile, results } = bench(t);
  const source = await start();
  const good = source.current();
  for (const bad of ["", "version: 1\nroutes: [", policyText("app").replace("provider: fmp", "provider: nobody")]) {
    writeFileSync(policyFile, bad);
    const result = await source.reload("signal");
    assert.equal(result.ok, false, bad);
    assert.equal(result.revision, good.revision);
    assert.ok(result.problems.length > 0);
    assert.ok(source.current() === good);
    assert.equal(source.health().ok, false);
  }
  assert.match(source.health().problems.join("\n"), /^policy\.yaml:6 routes\.fmp\.provider: /m);
  writeFileSync(policyFile, policyText("other"));
  const result = await source.reload("signal");
  assert.deepEqual([result.ok, result.changed, result.reason], [true, true, "signal"]);
  assert.ok(source.current().clients.has("other"));
  assert.equal(source.health().ok, true);
  // The bad files may have been seen by the file watch as well.
  assert.ok(results.filter(({ reason }) => reason === "signal").length === 4);
});

test("an exchange that holds a snapshot keeps it through a reload", async (t) => {
  const { start, policyFile } = bench(t);
  const source = await start();
  const held = source.current();
  writeFileSync(policyFile, policyText("other"));
  await source.reload("signal");
  assert.ok(held.clients.has("app"));
  assert.ok(Object.isFrozen(held));
  assert.notEqual(source.current(), held);
});

test("a change of the policy or of a provider file is taken over by itself", async (t) => {
  const { start, policyFile, providersDir, results } = bench(t);
  const source = await start();
  writeFileSync(policyFile, policyText("other"));
  await until(() => source.current().clients.has("other"));
  assert.equal(results.at(-1)?.reason, "file");
  writeFileSync(join(providersDir, "fmp.yaml"), PROVIDER.replace("api.example.test", "api2.example.test"));
  await until(() => source.current().interceptHosts.has("api2.example.test"));
  writeFileSync(join(providersDir, "fmp.yaml"), "id: [");
  await until(() => !source.health().ok);
  assert.match(source.health().problems[0] ?? "", /fmp\.yaml:\d+ /);
  assert.ok(source.current().interceptHosts.has("api2.example.test"));
  // News from the vault must not make a broken catalog look well.
  assert.equal((await source.reload("vault")).ok, false);
});

test("what the vault lacks is a warning that goes away when it is added", async (t) => {
  const { start } = bench(t);
  let known: KnownObjects = { credentials: new Map(), clients: new Set() };
  const source = await start(() => known);
  assert.match(source.warnings().join("\n"), /^policy\.yaml:\d+ .*fmp-main/m);
  known = KNOWN;
  const result = await source.reload("vault");
  assert.deepEqual([result.ok, result.changed, result.warnings], [true, false, []]);
  assert.deepEqual(source.warnings(), []);
  // A credential of another provider under that name makes the policy wrong: the old snapshot stays.
  known = { ...KNOWN, credentials: new Map([["fmp-main", { provider: "openai", environment: "live" }]]) };
  assert.equal((await source.reload("vault")).ok, false);
});

test("a start without a valid policy fails with the problem", async (t) => {
  const { start, policyFile } = bench(t);
  writeFileSync(policyFile, "version: 1\nroutes: 7\n");
  await assert.rejects(start(), /policy\.yaml:2 routes/);
});

test("an unforeseen error keeps the old snapshot and does not repeat its text", async (t) => {
  const { start } = bench(t);
  let fail = false;
  const source = await start(() => {
    if (fail) throw new Error("https://user:canary@vault.example.test");
    return KNOWN;
  });
  fail = true;
  const result = await source.reload("command");
  assert.equal(result.ok, false);
  assert.ok(!result.problems.join().includes("canary"));
});
