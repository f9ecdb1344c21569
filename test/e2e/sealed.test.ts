import assert from "node:assert/strict";
import { renameSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { createDaemonClient } from "../../src/cli/daemon-client.ts";
import { rotateCategory, setCategoryState } from "../../src/store/categories.ts";
import { replaceRoot } from "../../src/store/replace-root.ts";
import { rewrapSome } from "../../src/store/rewrap.ts";
import { openVault } from "../../src/store/vault.ts";
import { sendRaw } from "../support/raw-client.ts";
import { pause, type RunningSidekey, startSidekey } from "../support/running-sidekey.ts";
import { type StandIn, startStandIn } from "../support/stand-in.ts";
import { FORMS, formClient } from "./form-client.ts";
import { HOST, KEY, oneRoute } from "./one-route.ts";

const TIMEOUT = { timeout: 30_000 };
const TRADING_HOST = "paper-api.alpaca.markets";

function provider(t: TestContext): Promise<StandIn> {
  const requireKey = ({ headers }: { headers: readonly (readonly [string, string])[] }): boolean =>
    headers.some(([name, value]) => name.toLowerCase() === "authorization" && value === `Bearer ${KEY}`);
  return startStandIn(t, { hostnames: [HOST], handler: () => ({ body: "answer" }), requireKey });
}

async function openRoot(sidekey: RunningSidekey) {
  const vault = openVault(sidekey.dataDir);
  const { root } = await vault.openRoot([{ kind: "file", path: keyFile(sidekey) }]);
  vault.close();
  return root;
}

function keyFile({ dataDir }: RunningSidekey): string {
  return join(dataDir, "root.key");
}

async function ready({ metricsUrl }: RunningSidekey): Promise<[number, string]> {
  const answer = await fetch(`${metricsUrl}/readyz`);
  return [answer.status, (await answer.text()).trim()];
}

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await condition()) && performance.now() < deadline) await pause(20);
  assert.ok(await condition());
}

test(
  "a daemon whose vault does not open starts sealed, says so everywhere, and serves once it is unsealed",
  TIMEOUT,
  async (t) => {
    const standIn = await provider(t);
    const first = await oneRoute(t, standIn);
    renameSync(keyFile(first), `${keyFile(first)}.away`);
    const sealed = { ...(await first.restart()), host: HOST, route: "openai" };
    assert.deepEqual(await ready(sealed), [503, "vault_sealed"]);
    for (const form of ["absolute", "origin"] as const) {
      const answer = await formClient(t, form, sealed).ask();
      assert.deepEqual(
        [answer.status, answer.fields.find(([name]) => name === "Sidekey-Error")?.[1]],
        [503, "vault_sealed"],
      );
    }
    const bytes = `CONNECT ${HOST}:443 HTTP/1.1\r\nHost: ${HOST}:443\r\n\r\n`;
    const connect = await sendRaw(t, { port: sealed.port, bytes });
    assert.match(connect.text, /^HTTP\/1\.1 503 [\s\S]*Sidekey-Error: vault_sealed/);
    const daemon = createDaemonClient(sealed.dataDir);
    const status = await daemon.status();
    assert.equal(status.sealed, true);
    assert.match(status.sealedBecause ?? "", /root\.key does not exist/);
    assert.match(await (await fetch(`${sealed.metricsUrl}/metrics`)).text(), /^sidekey_vault_sealed 1$/m);
    assert.equal(standIn.requests.length, 0);

    renameSync(`${keyFile(first)}.away`, keyFile(first));
    const root = await openRoot(sealed);
    assert.deepEqual(await daemon.unseal(root), { ok: true, problems: [] });
    root.wipe();
    assert.deepEqual(await ready(sealed), [200, "ready"]);
    for (const form of FORMS) {
      await until(async () => (await formClient(t, form, sealed).ask()).status === 200);
    }
  },
);

test("sealed while it serves, no request carries a key any more until it is unsealed", TIMEOUT, async (t) => {
  const standIn = await provider(t);
  const sidekey = await oneRoute(t, standIn);
  const client = formClient(t, "absolute", sidekey);
  assert.equal((await client.ask()).status, 200);
  const root = await openRoot(sidekey);
  const daemon = createDaemonClient(sidekey.dataDir);
  assert.equal((await daemon.seal()).ok, true);
  assert.equal((await client.ask()).status, 503);
  assert.deepEqual(await ready(sidekey), [503, "vault_sealed"]);
  assert.equal(standIn.requests.length, 1);
  assert.equal((await daemon.unseal(root)).ok, true);
  root.wipe();
  assert.equal((await client.ask()).status, 200);
});

test(
  "a category is sealed alone: its route answers 503, the other goes on, and nothing else has to be done",
  TIMEOUT,
  async (t) => {
    const standIn = await startStandIn(t, { hostnames: [HOST, TRADING_HOST], handler: () => ({ body: "answer" }) });
    const leads = { port: standIn.port, caPem: standIn.caPem };
    const sidekey = await startSidekey(t, {
      policy: `version: 1\nclients: { app: { token: true } }\nroutes:
  openai: { provider: openai, credentials: [main], clients: [app] }
  alpaca: { provider: alpaca, environment: paper, credentials: [paper], clients: [app] }\n`,
      credentials: {
        main: { provider: "openai", category: "ai", hosts: [HOST], fields: { api_key: KEY } },
        paper: {
          provider: "alpaca",
          environment: "paper",
          category: "trading",
          hosts: [TRADING_HOST],
          fields: { key_id: "PK0123456789ABCDEFGH", secret_key: "s".repeat(40) },
        },
      },
      hosts: { [HOST]: leads, [TRADING_HOST]: leads },
    });
    const ai = formClient(t, "origin", { ...sidekey, host: HOST, route: "openai" });
    const trading = formClient(t, "origin", { ...sidekey, host: TRADING_HOST, route: "alpaca" });
    assert.deepEqual([(await ai.ask()).status, (await trading.ask()).status], [200, 200]);
    const seal = (state: "enabled" | "disabled") =>
      sidekey.withVault((vault) =>
        vault.write((transaction) => setCategoryState(transaction, "trading", state, "operator")),
      );
    await seal("disabled");
    await until(async () => (await trading.ask()).status === 503);
    const refused = await trading.ask();
    assert.match(refused.body.toString(), /"code":"vault_sealed".*category trading is sealed/);
    assert.equal((await ai.ask()).status, 200);
    assert.deepEqual((await createDaemonClient(sidekey.dataDir).status()).sealedCategories, ["trading"]);
    await seal("enabled");
    await until(async () => (await trading.ask()).status === 200);
  },
);

test("root key and category keys are replaced under traffic without one failed request", TIMEOUT, async (t) => {
  const standIn = await provider(t);
  const sidekey = await oneRoute(t, standIn, "", { config: { secretsIdleMs: 1 } });
  const client = formClient(t, "absolute", sidekey);
  const daemon = createDaemonClient(sidekey.dataDir);
  let stopped = false;
  const statuses: number[] = [];
  const traffic = (async () => {
    while (!stopped) {
      statuses.push((await client.ask()).status);
      await pause(1);
    }
  })();
  for (let round = 0; round < 3; round++) {
    const before = statuses.length;
    const unlockers = [{ kind: "file" as const, path: keyFile(sidekey) }];
    const vault = openVault(sidekey.dataDir);
    await vault.unseal(unlockers);
    const announce = async (root: Parameters<typeof daemon.expectRoot>[0]): Promise<void> => {
      assert.deepEqual(await daemon.expectRoot(root), { ok: true, problems: [] });
    };
    const common = { drop: [], actor: "ana", announce };
    await replaceRoot(vault, { unlockers, ...common });
    vault.write((transaction) => rotateCategory(transaction, "market-data", "ana"));
    while (vault.write((transaction) => rewrapSome(transaction, 1, "ana")).more);
    assert.equal(vault.verifyAudit().ok, true);
    vault.close();
    await until(() => statuses.length > before + 10);
  }
  stopped = true;
  await traffic;
  assert.deepEqual([...new Set(statuses)], [200], `${statuses.length} requests`);
  assert.equal((await daemon.status()).sealed, false);
  const again = await sidekey.restart();
  assert.equal((await formClient(t, "absolute", { ...again, host: HOST, route: "openai" }).ask()).status, 200);
});
