import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { beginAutomaticRotation } from "../../src/store/automatic-start.ts";
import { getRotation } from "../../src/store/rotations.ts";
import { openVault, type Vault } from "../../src/store/vault.ts";
import type { KeyProvider } from "../support/key-provider.ts";
import { openaiProvider } from "../support/key-providers.ts";
import { requires } from "../support/requirement.ts";
import { pause } from "../support/running-sidekey.ts";
import { startStandIn } from "../support/stand-in.ts";
import { memoryIsReadable, scanMemory } from "./memory-scan.ts";
import { type SeparateDaemon, startSeparateDaemon } from "./separate-daemon.ts";

const BROKER = ["broker-api.alpaca.markets", "authx.alpaca.markets", "data.alpaca.markets"];
const TOKEN = `CANARYaccess${"t".repeat(20)}`;
const CLIENT_SECRET = "CANARYclientsecret0123456789";
const CATALOG = join(import.meta.dirname, "../../config/providers");

async function withVault<T>(daemon: SeparateDaemon, work: (vault: Vault) => T): Promise<T> {
  const vault = openVault(daemon.dataDir);
  try {
    await vault.unseal([{ kind: "file", path: join(daemon.dataDir, "root.key") }]);
    return work(vault);
  } finally {
    vault.close();
  }
}

function startWorld(
  t: TestContext,
  openai: KeyProvider,
  place: { readonly port: number; readonly caPem: string },
): Promise<SeparateDaemon> {
  const ids = ["openai", "openai-admin", "alpaca-broker"];
  return startSeparateDaemon(t, {
    policy: `version: 1
clients: { app: { token: true } }
routes:
  openai: { provider: openai, credentials: [main], clients: [app] }
  broker: { provider: alpaca-broker, credentials: [broker], clients: [app] }
`,
    providers: Object.fromEntries(ids.map((id) => [id, readFileSync(join(CATALOG, `${id}.yaml`), "utf8")])),
    credentials: {
      main: { provider: "openai", category: "ai", hosts: openai.hosts, fields: openai.fields },
      admin: { provider: "openai-admin", category: "ai", hosts: openai.hosts, fields: openai.admin?.fields ?? {} },
      broker: {
        provider: "alpaca-broker",
        category: "trading",
        hosts: BROKER,
        fields: { client_id: "CANARYID0123456789AB", client_secret: CLIENT_SECRET },
      },
    },
    hosts: [...openai.hosts, ...BROKER].map((host) => [host, place]),
    clients: ["app"],
    secretsIdleMs: 200,
  });
}

test("G2 no-string: a minted key, an admin key and an access token are nowhere in the daemon's memory once idle", async (t) => {
  if (!(await requires(t, "/proc/<pid>/mem", () => memoryIsReadable(process.pid)))) return;
  const openai = openaiProvider();
  const standIn = await startStandIn(t, {
    hostnames: [...openai.hosts, ...BROKER],
    handler: (request, socket) => {
      if (request.target === "/v1/oauth2/token") {
        return { body: JSON.stringify({ access_token: TOKEN, token_type: "Bearer", expires_in: 900 }) };
      }
      if (request.target === "/v1/accounts") return { body: "[]" };
      return openai.handler(request, socket);
    },
  });
  const daemon = await startWorld(t, openai, { port: standIn.port, caPem: standIn.caPem });
  const headers = { authorization: `Bearer ${daemon.tokens.app}` };
  for (let n = 0; n < 20; n++) {
    const response = await fetch(`http://127.0.0.1:${daemon.port}/broker/v1/accounts`, { headers });
    assert.equal(response.status, 200);
    await response.arrayBuffer();
  }
  const policy = { rotator: "openai", admin: "admin", settings: { project: "proj_abc" } };
  const pace = { steps: [100], stepMs: 0, graceMs: 3_600_000 };
  await withVault(daemon, (vault) => vault.write((tx) => beginAutomaticRotation(tx, "main", { policy, pace }, "ana")));
  const deadline = performance.now() + 8_000;
  const phase = () =>
    withVault(daemon, (vault) => vault.read((view) => getRotation(view, vault.getCredential("main").id)?.phase));
  while ((await phase()) === "creating") {
    assert.ok(performance.now() < deadline, "no key was made");
    await pause(100);
  }
  const fresh = openai.alive().at(-1) ?? "";
  assert.ok(openai.alive().length === 2 && fresh.includes("CANARY"));
  await pause(1_000);
  const needles = new Map<string, Buffer>();
  const secrets = { fresh, old: openai.fields.api_key, admin: openai.admin?.fields.admin_key, TOKEN, CLIENT_SECRET };
  for (const [name, text = ""] of Object.entries(secrets)) {
    needles.set(name, Buffer.from(text));
    needles.set(`${name} utf-16`, Buffer.from(text, "utf16le"));
  }
  // What must be found, so that finding nothing means something: the control, which is no secret.
  needles.set("control", Buffer.from("proj_abc"));
  const { hits } = scanMemory(daemon.pid, needles);
  const found = hits.filter(({ needle }) => needle !== "control");
  assert.deepEqual(
    found.map(({ needle, mapping, context }) => `${needle} in ${mapping}: ${context}`),
    [],
  );
  assert.ok(hits.length > 0, "the scan finds nothing at all");
  assert.doesNotMatch(daemon.log(), /CANARY/);
});
