import assert from "node:assert/strict";
import { get } from "node:http";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { type TestContext, test } from "node:test";
import { HealthTable } from "../../src/daemon/monitor/health.ts";
import { type Health, openMonitorStore, readMonitor } from "../../src/store/monitor.ts";
import { pause, type RunningSidekey, type SidekeyOptions, startSidekey } from "../support/running-sidekey.ts";
import { type StandIn, startStandIn } from "../support/stand-in.ts";
import { type FormClient, formClient } from "./form-client.ts";

const HOST = "api.openai.com";
const MAIN = `sk-${"m".repeat(40)}`;
const SPARE = `sk-${"s".repeat(40)}`;
const TIMEOUT = { timeout: 20_000 };
const DAY = 86_400_000;

interface Scene {
  readonly sidekey: RunningSidekey;
  readonly standIn: StandIn;
  readonly client: FormClient;
  /** Keys that the provider refuses, whatever they ask for. */
  readonly refused: Set<string>;
  /** Paths that are forbidden to everybody. */
  readonly forbidden: Set<string>;
  /** Paths whose requests are hung up on. */
  readonly dead: Set<string>;
}

/** OpenAI's answers to a key: it is known, refused, or may not do this. */
async function scene(t: TestContext, limits = "", more: Partial<SidekeyOptions> = {}): Promise<Scene> {
  const refused = new Set<string>();
  const forbidden = new Set<string>();
  const dead = new Set<string>();
  const standIn = await startStandIn(t, {
    hostnames: [HOST],
    handler: (request, socket) => {
      if (dead.has(request.target)) return void socket.destroy();
      const key = request.headers.find(([name]) => name.toLowerCase() === "authorization")?.[1].slice("Bearer ".length);
      if (refused.has(key ?? "")) return { status: 401, body: '{"error":{"code":"invalid_api_key"}}' };
      if (forbidden.has(request.target)) return { status: 403, body: '{"error":{"code":"forbidden"}}' };
      return { body: "{}" };
    },
  });
  const sidekey = await startSidekey(t, {
    policy: `version: 1\nclients: { app: { token: true } }\nroutes:\n  openai: { provider: openai, credentials: [main, spare], clients: [app]${limits} }\n`,
    credentials: {
      main: { provider: "openai", hosts: [HOST], fields: { api_key: MAIN } },
      spare: { provider: "openai", hosts: [HOST], fields: { api_key: SPARE } },
    },
    hosts: { [HOST]: { port: standIn.port, caPem: standIn.caPem } },
    ...more,
  });
  return { sidekey, standIn, client: clientOf(t, sidekey), refused, forbidden, dead };
}

const clientOf = (t: TestContext, sidekey: RunningSidekey): FormClient =>
  formClient(t, "absolute", { ...sidekey, host: HOST, route: "openai" });

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 8_000;
  while (!(await holds())) {
    if (performance.now() > deadline) assert.fail(`not in time: ${what}`);
    await pause(10);
  }
}

async function idOf(sidekey: RunningSidekey, name: string): Promise<string> {
  let id = "";
  await sidekey.withVault((vault) => {
    id = vault.getCredential(name).id;
  });
  return id;
}

function known(sidekey: RunningSidekey, id: string): Health | undefined {
  return readMonitor(sidekey.dataDir, (store) => store.health(id).at(-1), undefined);
}

/** `/v1/models` with which key: the checks that the provider has seen. */
function probes(standIn: StandIn, key: string): number {
  return standIn.requests.filter(
    ({ target, headers }) => target === "/v1/models" && headers.some(([, value]) => value === `Bearer ${key}`),
  ).length;
}

async function statusOf(sidekey: RunningSidekey): Promise<{ alerts: { kind: string; object: string }[] }> {
  return new Promise((resolve, reject) => {
    get({ socketPath: join(sidekey.dataDir, "daemon.sock"), path: "/status" }, (response) => {
      json(response).then((value) => resolve(value as { alerts: { kind: string; object: string }[] }), reject);
    }).once("error", reject);
  });
}

async function metrics(sidekey: RunningSidekey): Promise<string> {
  return (await fetch(`${sidekey.metricsUrl}/metrics`)).text();
}

test(
  "a storm of 401 asks the provider once; the refused key goes out of use and the spare serves",
  TIMEOUT,
  async (t) => {
    const { sidekey, standIn, client, refused } = await scene(t);
    assert.equal((await client.ask({ path: "/v1/chat" })).status, 200);
    refused.add(MAIN);
    const clients = Array.from({ length: 20 }, () => clientOf(t, sidekey));
    const storm = await Promise.all(clients.map((each) => each.ask({ path: "/v1/chat" })));
    assert.ok(storm.some(({ status }) => status === 401));
    const id = await idOf(sidekey, "main");
    await until("main is out of use", () => known(sidekey, id)?.state === "invalid");
    for (let n = 0; n < 5; n++) assert.equal((await client.ask({ path: "/v1/chat" })).status, 200);
    assert.equal(probes(standIn, MAIN), 1);
    assert.equal(standIn.requests.at(-1)?.headers.find(([name]) => name === "authorization")?.[1], `Bearer ${SPARE}`);
    await until("the alert", async () => (await statusOf(sidekey)).alerts.length === 1);
    const [alert] = (await statusOf(sidekey)).alerts;
    assert.deepEqual([alert?.kind, alert?.object], ["credential_invalid", "credential:main"]);
    const text = await metrics(sidekey);
    assert.match(text, /^sidekey_credential_state\{credential="main",state="invalid"\} 1$/m);
    assert.match(text, /^sidekey_credential_state\{credential="spare",state="unknown"\} 1$/m);
    assert.match(text, /^sidekey_alerts_open\{severity="critical"\} 1$/m);
    assert.ok(!sidekey.log().includes(MAIN));
  },
);

test("a key that may not do one thing is suspected, asked about and kept", TIMEOUT, async (t) => {
  const { sidekey, standIn, client, forbidden } = await scene(t);
  forbidden.add("/v1/fine-tunes");
  for (let n = 0; n < 5; n++) assert.equal((await client.ask({ path: "/v1/fine-tunes" })).status, 403);
  const id = await idOf(sidekey, "main");
  await until("the check", () => known(sidekey, id)?.state === "valid");
  for (let n = 0; n < 5; n++) assert.equal((await client.ask({ path: "/v1/fine-tunes" })).status, 403);
  assert.equal((await client.ask({ path: "/v1/chat" })).status, 200);
  assert.equal(probes(standIn, MAIN), 1);
  assert.equal(probes(standIn, SPARE), 0);
  assert.equal(known(sidekey, id)?.suspectSince, null);
});

test("when every key of a route is refused the answer says so and what to do", TIMEOUT, async (t) => {
  const { sidekey, client, refused } = await scene(t);
  refused.add(MAIN).add(SPARE);
  await until("both are out of use", async () => (await client.ask({ path: "/v1/chat" })).status === 503);
  const answer = await client.ask({ path: "/v1/chat" });
  assert.deepEqual(answer.values("sidekey-error"), ["no_usable_credential"]);
  assert.match(JSON.parse(String(answer.body)).detail, /accepted by its provider; see `sidekey credential list`/);
  assert.equal((await statusOf(sidekey)).alerts.length <= 2, true);
});

test("what was learnt outlives a restart, and a check by command brings a key back without one", TIMEOUT, async (t) => {
  const { sidekey, standIn, client, refused } = await scene(t);
  refused.add(MAIN);
  const id = await idOf(sidekey, "main");
  await client.ask({ path: "/v1/chat" });
  await until("main is out of use", () => known(sidekey, id)?.state === "invalid");
  const restarted = await sidekey.restart();
  const again = clientOf(t, restarted);
  assert.equal((await again.ask({ path: "/v1/chat" })).status, 200);
  assert.equal(probes(standIn, MAIN), 1);
  refused.clear();
  const store = openMonitorStore(restarted.dataDir);
  const valid = { meaning: "valid", status: 200, detail: "by hand", expiresAt: null } as const;
  const check = { reason: "command", started: Date.now(), nextAt: null } as const;
  new HealthTable(store, assert.ifError).settle({ id, name: "main" }, 1, valid, check);
  store.close();
  await until("main serves again", async () => {
    await again.ask({ path: "/v1/chat" });
    return standIn.requests.at(-1)?.headers.some(([, value]) => value === `Bearer ${MAIN}`) === true;
  });
});

test("a check takes a grant of the route's limit and is put off while there is none", TIMEOUT, async (t) => {
  const limits = ", limits: [ { name: plan, per: [credential], requests: 1/h } ]";
  const { sidekey, standIn, client, refused } = await scene(t, limits);
  refused.add(MAIN);
  assert.equal((await client.ask({ path: "/v1/chat" })).status, 401);
  const id = await idOf(sidekey, "main");
  await until("the check is put off", () => (known(sidekey, id)?.nextAt ?? 0) > Date.now() + 60_000);
  assert.equal(probes(standIn, MAIN), 0);
  assert.notEqual(known(sidekey, id)?.suspectSince, null);
});

test("a notice of an expiry is logged once, also over a restart, and the metric has the time", TIMEOUT, async (t) => {
  const expiresAt = Date.now() + 5 * DAY;
  const { sidekey } = await scene(t, "", {
    credentials: {
      main: { provider: "openai", hosts: [HOST], fields: { api_key: MAIN }, expiresAt },
      spare: { provider: "openai", hosts: [HOST], fields: { api_key: SPARE } },
    },
  });
  await until("the notice", () => sidekey.log().includes('"msg":"credential_expires"'));
  assert.match(sidekey.log(), /"credential":"main",.*"days":7,"msg":"credential_expires"/);
  const text = await metrics(sidekey);
  assert.match(text, /^sidekey_credential_state\{credential="main",state="expiring"\} 1$/m);
  assert.match(
    text,
    new RegExp(`^sidekey_credential_expires_timestamp_seconds\\{credential="main"\\} ${expiresAt / 1000}$`, "m"),
  );
  const restarted = await sidekey.restart();
  await until("the alert is open", async () => (await statusOf(restarted)).alerts.length === 1);
  await pause(1_200);
  assert.ok(!restarted.log().includes("credential_expires"), restarted.log());
  assert.ok(!restarted.log().includes("alert_opened"));
});

test("a check that gets no answer takes no key out of use", TIMEOUT, async (t) => {
  const { sidekey, standIn, client, refused, dead } = await scene(t);
  refused.add(MAIN);
  dead.add("/v1/models");
  assert.equal((await client.ask({ path: "/v1/chat" })).status, 401);
  const id = await idOf(sidekey, "main");
  await until("the check has failed", () => known(sidekey, id)?.checkedAt != null);
  assert.match(known(sidekey, id)?.detail ?? "", /no answer to the check/);
  assert.equal(
    (await client.ask({ path: "/v1/chat" })).status,
    200,
    "the other key is used while this one is in doubt",
  );
  assert.equal(probes(standIn, MAIN), 1);
  dead.clear();
  assert.notEqual(known(sidekey, id)?.suspectSince, null, "it is followed up");
});
