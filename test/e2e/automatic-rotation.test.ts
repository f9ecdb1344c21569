import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { beginAutomaticRotation } from "../../src/store/automatic-start.ts";
import { getRotation, putRotation, type Rotation } from "../../src/store/rotations.ts";
import { openaiProvider } from "../support/key-providers.ts";
import { pause, type RunningSidekey, startSidekey } from "../support/running-sidekey.ts";
import { startStandIn } from "../support/stand-in.ts";

const WANTED = {
  policy: { rotator: "openai", admin: "admin", settings: { project: "proj_abc" } },
  pace: { steps: [50, 100], stepMs: 300, graceMs: 500 },
};
const DEADLINE_MS = 9_000;

async function rotationOf(sidekey: RunningSidekey): Promise<Rotation | null> {
  let found: Rotation | null = null;
  await sidekey.withVault((vault) => {
    found = vault.read((view) => getRotation(view, vault.getCredential("main").id));
  });
  return found;
}

/** What testing and moving the traffic do: another part's work, and its own tests'. */
async function move(sidekey: RunningSidekey, change: (rotation: Rotation) => Partial<Rotation>): Promise<void> {
  await sidekey.withVault((vault) => {
    const { id } = vault.getCredential("main");
    vault.write((tx) => {
      const rotation = getRotation(tx, id);
      assert.ok(rotation);
      putRotation(tx, id, { ...rotation, ...change(rotation) });
      tx.note({ actor: "test", action: "rotation.put", object: "credential:main", detail: {} });
    });
  });
}

async function untilPhase(sidekey: RunningSidekey, phase: Rotation["phase"]): Promise<Rotation> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const rotation = await rotationOf(sidekey);
    if (rotation?.phase === phase) return rotation;
    assert.ok(performance.now() < deadline, `still ${rotation?.phase}: ${rotation?.problem}`);
    await pause(50);
  }
}

/** The rotation, once it is no longer in `phase`. */
async function leaving(sidekey: RunningSidekey, phase: Rotation["phase"]): Promise<Rotation> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const rotation = await rotationOf(sidekey);
    if (rotation !== null && rotation.phase !== phase) return rotation;
    assert.ok(performance.now() < deadline, `still ${phase}: ${rotation?.problem}`);
    await pause(50);
  }
}

async function stays(sidekey: RunningSidekey, phase: Rotation["phase"], forMs: number): Promise<boolean> {
  const until = performance.now() + forMs;
  while (performance.now() < until) {
    if ((await rotationOf(sidekey))?.phase !== phase) return false;
    await pause(50);
  }
  return true;
}

/** Clients that never stop asking; the statuses that they got. */
function load(sidekey: RunningSidekey, clients: number): { statuses: Map<number, number>; stop(): Promise<void> } {
  const statuses = new Map<number, number>();
  let going = true;
  const url = `http://127.0.0.1:${sidekey.port}/openai/v1/models`;
  const authorization = `Bearer ${sidekey.tokens.app}`;
  const runs = Array.from({ length: clients }, async () => {
    while (going) {
      const response = await fetch(url, { headers: { authorization } });
      await response.arrayBuffer();
      statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
      await pause(2);
    }
  });
  return {
    statuses,
    stop: async () => {
      going = false;
      await Promise.all(runs);
    },
  };
}

describe("a running daemon", () => {
  test("gives an OpenAI credential a new key under load without one failed request, and proves the old one dead", async (t) => {
    const provider = openaiProvider();
    const old = provider.fields.api_key ?? "";
    const standIn = await startStandIn(t, { hostnames: provider.hosts, handler: provider.handler });
    const sidekey = await startSidekey(t, {
      policy: `version: 1
clients: { app: { token: true } }
routes:
  openai: { provider: openai, credentials: [main], clients: [app] }
`,
      credentials: {
        main: { provider: "openai", category: "ai", hosts: ["api.openai.com"], fields: provider.fields },
        admin: {
          provider: "openai-admin",
          category: "ai",
          hosts: ["api.openai.com"],
          fields: provider.admin?.fields ?? {},
        },
      },
      hosts: { "api.openai.com": { port: standIn.port, caPem: standIn.caPem } },
    });
    const traffic = load(sidekey, 4);
    await sidekey.withVault((vault) => {
      vault.write((tx) => beginAutomaticRotation(tx, "main", WANTED, "ana"));
    });
    const made = await leaving(sidekey, "creating");
    // Testing and moving the traffic are another part's work, done here only while that part does nothing.
    if (made.phase === "testing" && (await stays(sidekey, "testing", 1_000))) {
      await sidekey.withVault((vault) => vault.promote("main", made.to ?? 0, "test"));
      await untilUsed(provider.alive().find((value) => value !== old) ?? "", standIn.requests, old);
      await move(sidekey, () => ({ phase: "revoking" }));
    }
    const done = await untilPhase(sidekey, "done");
    await pause(100);
    await traffic.stop();
    assert.deepEqual([...traffic.statuses.keys()], [200]);
    assert.ok((traffic.statuses.get(200) ?? 0) > 50);
    assert.equal(provider.alive().length, 1);
    assert.notEqual(provider.alive()[0], old);
    assert.equal(done.problem, null);
    assert.doesNotMatch(sidekey.log(), /CANARY/);
    assert.deepEqual(standIn.problems, []);
  });
});

/** Waits until the last requests of clients all came with the new key: nothing uses the old one any more. */
async function untilUsed(
  fresh: string,
  requests: readonly { target: string; values(name: string): string[] }[],
  old: string,
): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  const recent = () => requests.filter(({ target }) => target === "/v1/models").slice(-40);
  const bearing = (value: string) =>
    recent().filter((each) => each.values("authorization")[0] === `Bearer ${value}`).length;
  while (bearing(fresh) < 40) {
    assert.ok(performance.now() < deadline, `${bearing(old)} of the last 40 requests came with the old key`);
    await pause(20);
  }
}
