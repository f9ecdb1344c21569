import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { Alert } from "../../src/store/alerts.ts";
import { HONEYTOKEN_METADATA } from "../../src/store/honeytoken.ts";
import { openMonitorStore } from "../../src/store/monitor.ts";
import { controlCall } from "../guarantees/control-call.ts";
import { findCanary, makeCanary } from "../support/canary.ts";
import { pause, type RunningSidekey, type TestCredential } from "../support/running-sidekey.ts";
import { startStandIn } from "../support/stand-in.ts";
import { type Answer, formClient } from "./form-client.ts";
import { HOST, oneRoute } from "./one-route.ts";

const TIMEOUT = { timeout: 30_000 };
const BAIT = makeCanary();
const MAIN: TestCredential = { provider: "openai", hosts: [HOST], fields: { api_key: BAIT.text } };

async function alertsOf(sidekey: RunningSidekey): Promise<readonly Alert[]> {
  const { text } = await controlCall(sidekey.dataDir, "GET", "/status");
  return (JSON.parse(text) as { alerts: readonly Alert[] }).alerts;
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await holds())) {
    if (performance.now() > deadline) assert.fail(`not in time: ${what}`);
    await pause(20);
  }
}

/** What a client can see of an answer, apart from what differs between any two. */
function seen({ status, fields, values, body }: Answer) {
  const problem = JSON.parse(String(body)) as Record<string, unknown>;
  const names = fields.map(([name]) => name);
  return { status, names, error: values("sidekey-error"), problem: { ...problem, request_id: "" } };
}

async function scene(t: TestContext, main: TestCredential) {
  const standIn = await startStandIn(t, { hostnames: [HOST], handler: () => ({ status: 503, body: "{}" }) });
  const sidekey = await oneRoute(t, standIn, "", { credentials: { main } });
  const client = formClient(t, "absolute", sidekey);
  return { standIn, sidekey, client };
}

test(
  "a honeytoken answers as a disabled credential does, goes nowhere, and is told once, also over a restart",
  TIMEOUT,
  async (t) => {
    const plain = await scene(t, MAIN);
    await plain.sidekey.withVault((vault) => vault.setState("main", "disabled", "test"));
    await plain.sidekey.daemon.reload();
    const disabled = await plain.client.ask({ path: "/v1/models" });
    const trap = await scene(t, { ...MAIN, metadata: HONEYTOKEN_METADATA });
    const trapped = await trap.client.ask({ path: "/v1/models" });
    assert.deepEqual(seen(trapped), seen(disabled));
    assert.deepEqual(seen(trapped).error, ["no_usable_credential"]);
    assert.equal(trap.standIn.requests.length, 0);
    assert.equal(trap.standIn.connections(), 0);
    await until("the alert", async () => (await alertsOf(trap.sidekey)).length === 1);
    const [alert] = await alertsOf(trap.sidekey);
    assert.deepEqual(
      [alert?.kind, alert?.object, alert?.severity],
      ["honeytoken_used", "credential:main/app", "critical"],
    );
    assert.deepEqual(await alertsOf(plain.sidekey), []);
    const restarted = await trap.sidekey.restart();
    const again = formClient(t, "absolute", { ...restarted, host: HOST, route: "openai" });
    await again.ask({ path: "/v1/models" });
    await until("it is counted", async () => (await alertsOf(restarted))[0]?.count === 2);
    assert.ok(!restarted.log().includes("alert_opened"), restarted.log());
    const files = readdirSync(restarted.dataDir)
      .filter((name) => !name.endsWith(".sock"))
      .map((name) => readFileSync(join(restarted.dataDir, name)));
    const said = [trap.sidekey.log(), restarted.log(), JSON.stringify(await alertsOf(restarted)), String(trapped.body)];
    assert.deepEqual(findCanary([...files, ...said], BAIT), []);
  },
);

test(
  "a failing provider and an unknown host are alerts in status, metrics and log, and can be marked as seen",
  TIMEOUT,
  async (t) => {
    const { sidekey, client } = await scene(t, MAIN);
    for (let n = 0; n < 10; n++) assert.equal((await client.ask({ path: "/v1/models" })).status, 503);
    const lost = formClient(t, "absolute", { ...sidekey, host: "api.opnai.com", route: "openai" });
    assert.equal((await lost.ask({ path: "/v1/models" })).status, 403);
    await until("both", async () => (await alertsOf(sidekey)).length === 2);
    const alerts = await alertsOf(sidekey);
    assert.deepEqual(
      alerts.map(({ kind, object, severity }) => `${kind} ${object} ${severity}`),
      [`provider_failing provider:openai/${HOST} critical`, "unknown_host client:app info"],
    );
    const text = await (await fetch(`${sidekey.metricsUrl}/metrics`)).text();
    assert.match(text, /^sidekey_alerts_opened_total\{kind="provider_failing"\} 1$/m);
    assert.match(text, /^sidekey_alerts_opened_total\{kind="pool_empty"\} 0$/m);
    assert.match(text, /^sidekey_alerts_open\{severity="info"\} 1$/m);
    assert.match(sidekey.log(), /"kind":"unknown_host","object":"client:app","severity":"info".*"msg":"alert_opened"/);
    const other = openMonitorStore(sidekey.dataDir);
    assert.equal(other.alerts.acknowledge(alerts[1]?.id ?? 0, "cli:ana", Date.now()), "done");
    other.close();
    assert.equal((await alertsOf(sidekey))[1]?.acknowledgedBy, "cli:ana");
  },
);

test(
  "a key in a client's request is told: one in use, one that was revoked, one of somebody else; the request goes on",
  TIMEOUT,
  async (t) => {
    const revoked = makeCanary();
    const foreign = `sk-${makeCanary().text.replace(/[^A-Za-z0-9]/g, "a")}T3BlbkFJ`;
    const standIn = await startStandIn(t, { hostnames: [HOST], handler: () => ({ body: "ok" }) });
    const sidekey = await oneRoute(t, standIn, "", {
      credentials: { main: MAIN, old: { ...MAIN, fields: { api_key: revoked.text } } },
    });
    await sidekey.withVault((vault) => vault.revokeVersion("old", 1, "test"));
    await sidekey.daemon.reload();
    const client = formClient(t, "absolute", sidekey);
    for (const key of [BAIT.text, revoked.text, "sk-placeholder"]) {
      const answer = await client.ask({ headers: { authorization: `Bearer ${key}` } });
      assert.equal(answer.status, 200, String(answer.body));
    }
    const stranger = formClient(t, "absolute", { ...sidekey, tokens: { app: `${sidekey.tokens.app}x` } });
    assert.equal((await stranger.ask({ headers: { authorization: `Bearer ${foreign}` } })).status, 407);
    await until("all", async () => (await alertsOf(sidekey)).length === 3);
    assert.deepEqual(
      (await alertsOf(sidekey)).map(({ kind, object, severity }) => `${kind} ${object} ${severity}`).sort(),
      [
        `foreign_key_seen client:?/${HOST} warning`,
        "revoked_key_seen client:app/openai critical",
        "stored_key_seen client:app/openai critical",
      ],
    );
    for (const { values } of standIn.requests) assert.deepEqual(values("authorization"), [`Bearer ${BAIT.text}`]);
    const said = [sidekey.log(), JSON.stringify(await alertsOf(sidekey))];
    for (const canary of [BAIT, revoked]) assert.deepEqual(findCanary(said, canary), []);
    assert.ok(!said.join().includes(foreign));
  },
);
