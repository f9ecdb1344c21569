import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Secret } from "../../src/secret.ts";
import { beginRotation, type NewRotation } from "../../src/store/credential-rotation.ts";
import { getCredential } from "../../src/store/credentials.ts";
import { getRotation, putRotation, type RotationPhase } from "../../src/store/rotations.ts";
import { openVault, type Vault } from "../../src/store/vault.ts";
import { startSeparateDaemon } from "../guarantees/separate-daemon.ts";
import { pause, type RunningSidekey, startSidekey } from "../support/running-sidekey.ts";
import { type ReceivedRequest, type StandIn, startStandIn } from "../support/stand-in.ts";
import { FORMS, formClient } from "./form-client.ts";

const HOST = "api.rotated.test";
const NAME = "rotated-main";
const OLD = "key-old-0123456789abcdef";
const NEW = "key-new-0123456789abcdef";
const TIMEOUT = { timeout: 60_000 };
const CLIENTS = Array.from({ length: 16 }, (_, n) => `c${n}`);

const PROVIDER = `
id: rotated
name: Rotated
category: demo
docs: https://${HOST}/docs
sources: ["made for a test (S)"]
environments: { live: { hosts: [${HOST}] } }
fields: { api_key: { label: API key, secret: true } }
auth: [{ scheme: header, headers: { x-api-key: "{api_key}" } }]
probe: { method: GET, path: /probe, valid: [200], invalid: [401] }
`;

function policy(clients: readonly string[]): string {
  return `version: 1
clients: { ${clients.map((client) => `${client}: { token: true }`).join(", ")} }
routes: { rotated: { provider: rotated, credentials: [${NAME}], clients: [${clients.join(", ")}] } }
`;
}

/** A provider that knows some keys at a time; \`/hold\` is answered when the test says so. */
interface Upstream {
  readonly standIn: StandIn;
  readonly valid: Set<string>;
  release(): void;
}

async function startUpstream(t: TestContext): Promise<Upstream> {
  const valid = new Set([OLD, NEW]);
  const held = Promise.withResolvers<void>();
  const handler = async (request: ReceivedRequest) => {
    if (request.target === "/hold") await held.promise;
    return valid.has(keyOf(request)) ? { body: "ok" } : { status: 401, body: "no such key" };
  };
  t.after(() => held.resolve());
  return { standIn: await startStandIn(t, { hostnames: [HOST], handler }), valid, release: () => held.resolve() };
}

function keyOf(request: ReceivedRequest): string {
  return request.values("x-api-key").join();
}

async function startOver(t: TestContext, { standIn }: Upstream, clients = CLIENTS): Promise<RunningSidekey> {
  return startSidekey(t, {
    policy: policy(clients),
    providers: { rotated: PROVIDER },
    credentials: { [NAME]: { provider: "rotated", category: "demo", hosts: [HOST], fields: { api_key: OLD } } },
    clients,
    hosts: { [HOST]: { port: standIn.port, caPem: standIn.caPem } },
  });
}

function begin(
  vault: Vault,
  pace: NewRotation["pace"],
  options: { readonly key?: string; readonly testInMs?: number } = {},
): void {
  const fields = new Map([["api_key", Secret.copyOf(Buffer.from(options.key ?? NEW))]]);
  const wanted = { pace, validate: options.testInMs !== undefined, fields };
  vault.write((transaction) => {
    const { credential, rotation } = beginRotation(transaction, NAME, wanted, "test");
    if (options.testInMs === undefined) return;
    // As if the first probe had said nothing, so that the phase can be met.
    putRotation(transaction, credential.id, { ...rotation, attempts: 1, nextTryAt: Date.now() + options.testInMs });
  });
}

interface Seen {
  readonly phase: string;
  readonly step: number;
  readonly stages: string;
  readonly problem: string | null;
}

function seen(vault: Vault): Seen {
  // One snapshot: the daemon moves stages and phase together, and may do so between two reads.
  const { versions, rotation } = vault.read((view) => {
    const { id, versions } = getCredential(view, NAME);
    return { versions, rotation: getRotation(view, id) };
  });
  const stages = versions.map(({ stage }) => stage).join(" ");
  return {
    phase: rotation?.phase ?? "none",
    step: rotation?.step ?? 0,
    stages,
    problem: rotation?.problem ?? null,
  };
}

/** The vault as another process sees it. */
async function openOther(t: TestContext, dataDir: string): Promise<Vault> {
  const vault = openVault(dataDir);
  t.after(() => vault.close());
  await vault.unseal([{ kind: "file", path: `${dataDir}/root.key` }]);
  return vault;
}

async function until(vault: Vault, done: (now: Seen) => boolean, what: string): Promise<Seen> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    const now = seen(vault);
    if (done(now)) return now;
    assert.ok(performance.now() < deadline, `still waiting for ${what}: ${JSON.stringify(now)}`);
    await pause(10);
  }
}

interface Load {
  /** `client form status`, for every answer. */
  readonly answers: string[];
  /** Waits until every client has been answered in every form, this many times from now on. */
  rounds(count: number): Promise<void>;
  stop(): Promise<void>;
}

/** Every client asks in every form, one request after another on each. */
function startLoad(t: TestContext, sidekey: RunningSidekey, clients = CLIENTS): Load {
  const answers: string[] = [];
  const counts = new Map<string, number>();
  let going = true;
  const loops = clients.flatMap((client) =>
    FORMS.map(async (form) => {
      const asked = formClient(t, form, { ...sidekey, host: HOST, route: "rotated", client });
      while (going) {
        const { status, complete } = await asked.ask({ path: `/${client}/${form}` });
        answers.push(`${client} ${form} ${status}${complete ? "" : " cut"}`);
        counts.set(`${client} ${form}`, (counts.get(`${client} ${form}`) ?? 0) + 1);
        await pause(5);
      }
    }),
  );
  return {
    answers,
    rounds: async (count) => {
      const start = new Map(counts);
      const keys = clients.flatMap((client) => FORMS.map((form) => `${client} ${form}`));
      const deadline = performance.now() + 20_000;
      while (keys.some((key) => (counts.get(key) ?? 0) < (start.get(key) ?? 0) + count)) {
        assert.ok(performance.now() < deadline, "some client is not answered");
        await pause(5);
      }
    },
    stop: async () => {
      going = false;
      await Promise.all(loops);
    },
  };
}

/** The keys that one client's requests in one form carried, in order, without repetitions. */
function keysInTurn(standIn: StandIn, path: string): string {
  const keys = standIn.requests.filter(({ target }) => target === path).map(keyOf);
  return keys.filter((key, at) => key !== keys[at - 1]).join(" ");
}

test(
  "a rotation under load fails no request in any form, moves each client once, and ends with the old key revoked",
  TIMEOUT,
  async (t) => {
    const upstream = await startUpstream(t);
    const { standIn } = upstream;
    const sidekey = await startOver(t, upstream);
    const vault = await openOther(t, sidekey.dataDir);
    const load = startLoad(t, sidekey);
    await load.rounds(1);
    begin(vault, { steps: [25, 50, 75, 100], stepMs: 500, graceMs: 300 });
    await until(vault, ({ phase, step }) => phase === "ramping" && step === 1, "50 %");
    const since = standIn.requests.length;
    await load.rounds(1);
    const during = standIn.requests.slice(since).map(keyOf);
    assert.ok(during.includes(OLD) && during.includes(NEW), "both keys are used during the ramp");
    await until(vault, ({ phase }) => phase === "done", "the end");
    // The provider forgets the old key: from here on it would answer 401.
    upstream.valid.delete(OLD);
    const after = standIn.requests.length;
    await load.rounds(3);
    await load.stop();
    assert.deepEqual(
      load.answers.filter((answer) => !answer.endsWith(" 200")),
      [],
    );
    assert.ok(load.answers.length > CLIENTS.length * FORMS.length * 5, `${load.answers.length} requests`);
    assert.equal(seen(vault).stages, "revoked current");
    const last = new Set(standIn.requests.slice(after).map(keyOf));
    assert.deepEqual([...last], [NEW]);
    for (const client of CLIENTS) {
      for (const form of FORMS)
        assert.equal(keysInTurn(standIn, `/${client}/${form}`), `${OLD} ${NEW}`, `${client} ${form}`);
    }
    assert.deepEqual(standIn.problems, []);
    assert.equal(vault.verifyAudit().ok, true);
  },
);

test(
  "a new key that the provider refuses is taken back by itself, with an alert, and the old one serves",
  TIMEOUT,
  async (t) => {
    const upstream = await startUpstream(t);
    const sidekey = await startOver(t, upstream);
    const vault = await openOther(t, sidekey.dataDir);
    const load = startLoad(t, sidekey);
    await load.rounds(1);
    begin(vault, { steps: [50, 100], stepMs: 60_000, graceMs: 60_000 }, { key: "key-mistyped-0123456789" });
    const failed = await until(vault, ({ phase }) => phase === "failed", "the roll-back");
    assert.match(
      failed.problem ?? "",
      /^version 2 failed: .*the provider (?:refused \d+ of its \d+ requests|does not accept the key)$/,
    );
    assert.equal(failed.stages, "current pending");
    await load.rounds(1);
    const from = load.answers.length;
    await load.rounds(2);
    await load.stop();
    assert.deepEqual(
      load.answers.slice(from).filter((answer) => !answer.endsWith(" 200")),
      [],
    );
    const refused = load.answers.filter((answer) => answer.endsWith(" 401")).map((answer) => answer.split(" ")[0]);
    assert.ok(new Set(refused).size < CLIENTS.length, "clients that were not in the first step never saw it");
    assert.match(sidekey.log(), /rotation_failed.*credential:rotated-main/);
  },
);

test("the old version stays until the last exchange that uses it has ended", TIMEOUT, async (t) => {
  const upstream = await startUpstream(t);
  const sidekey = await startOver(t, upstream, ["app"]);
  const vault = await openOther(t, sidekey.dataDir);
  const client = formClient(t, "absolute", { ...sidekey, host: HOST, route: "rotated" });
  const long = client.ask({ path: "/hold" });
  const deadline = performance.now() + 10_000;
  while (upstream.standIn.requests.length === 0 && performance.now() < deadline) await pause(5);
  begin(vault, { steps: [100], stepMs: 0, graceMs: 0 });
  const waits = await until(vault, ({ problem }) => problem !== null, "the end of the grace time");
  assert.equal(`${waits.phase} ${waits.stages}`, "grace previous current");
  upstream.release();
  assert.equal((await long).status, 200);
  await until(vault, ({ phase, stages }) => phase === "done" && stages === "revoked current", "the revocation");
});

test("a rotation goes on after kill -9 in each of its phases, and no client is ever without a key", {
  timeout: 90_000,
}, async (t) => {
  const upstream = await startUpstream(t);
  let daemon = await startSeparateDaemon(t, {
    policy: policy(["app"]),
    providers: { rotated: PROVIDER },
    credentials: { [NAME]: { provider: "rotated", category: "demo", hosts: [HOST], fields: { api_key: OLD } } },
    hosts: [[HOST, { port: upstream.standIn.port, caPem: upstream.standIn.caPem }]],
    clients: ["app"],
  });
  const vault = await openOther(t, daemon.dataDir);
  begin(vault, { steps: [30, 60, 100], stepMs: 2_000, graceMs: 2_000 }, { testInMs: 1_000 });
  const phases: [RotationPhase, number, string][] = [
    ["testing", 0, "current pending"],
    ["ramping", 0, "current pending"],
    ["ramping", 1, "current pending"],
    ["grace", 2, "previous current"],
  ];
  for (const [phase, step, stages] of phases) {
    const now = await until(vault, (at) => at.phase === phase && at.step === step, `${phase} ${step}`);
    assert.equal(now.stages, stages);
    daemon = await daemon.killAndRestart();
    assert.equal(vault.verifyAudit().ok, true);
    const client = formClient(t, "absolute", { ...daemon, host: HOST, route: "rotated" });
    assert.equal((await client.ask({ path: `/after-${phase}-${step}` })).status, 200);
  }
  await until(vault, ({ phase }) => phase === "done", "the end");
  assert.equal(seen(vault).stages, "revoked current");
  upstream.valid.delete(OLD);
  const client = formClient(t, "absolute", { ...daemon, host: HOST, route: "rotated" });
  assert.equal((await client.ask({ path: "/end" })).status, 200);
  const keys = upstream.standIn.requests.filter(({ target }) => target.startsWith("/after-")).map(keyOf);
  assert.equal(keys.lastIndexOf(OLD) < (keys.indexOf(NEW) === -1 ? keys.length : keys.indexOf(NEW)), true, `${keys}`);
});
