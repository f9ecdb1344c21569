import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { watchVault } from "../../src/daemon/vault-view.ts";
import { softRemove } from "../../src/store/credential-removal.ts";
import { beginRotation, sendToRotation } from "../../src/store/credential-rotation.ts";
import { HONEYTOKEN_METADATA } from "../../src/store/honeytoken.ts";
import type { Vault } from "../../src/store/vault.ts";
import { fields, newCredential, newVault, START_MS } from "../support/vault-fixture.ts";

function unexpected(error?: unknown): void {
  assert.fail(`unexpected: ${error}`);
}

test("credentials, owners and tokens are known without opening a secret", async (t) => {
  const { vault } = await newVault(t);
  vault.addCredential(newCredential("fmp-main"), fields({ api_key: "k" }), "test");
  const owner = { kind: "user" as const, id: "user-7" };
  vault.addCredential(newCredential("fmp-7", { owner }), fields({ api_key: "k7" }), "test");
  const { token } = vault.addClientToken("app", {}, "test");
  vault.revokeClientTokens(vault.addClientToken("gone", {}, "test").id, "test");
  vault.addClientToken("expired", { expiresAt: START_MS + 1 }, "test");
  const before = vault.listAudit().length;
  const view = watchVault(vault, () => {}, unexpected);
  t.after(() => view.close());
  assert.deepEqual(
    view
      .list()
      .map(({ name }) => name)
      .sort(),
    ["fmp-7", "fmp-main"],
  );
  assert.equal(view.byName("fmp-main")?.provider, "fmp");
  assert.equal(view.byName("nobody"), undefined);
  assert.equal(view.ownedBy("fmp", "user-7")?.name, "fmp-7");
  assert.equal(view.ownedBy("fmp", "user-8"), undefined);
  assert.equal(view.ownedBy("openai", "user-7"), undefined);
  assert.equal(view.tokens.verify(token, START_MS + 1_000)?.client, "app");
  assert.deepEqual([...view.known.clients], ["app"]);
  assert.deepEqual(view.known.credentials.get("fmp-main"), { provider: "fmp", environment: "live" });
  assert.equal(vault.listAudit().length, before);
});

test("another process's change is taken over within a second, and told once", async (t) => {
  const { vault, reopen, unlocker } = await newVault(t);
  let changes = 0;
  const view = watchVault(vault, () => changes++, unexpected);
  t.after(() => view.close());
  const other = reopen();
  await other.unseal([unlocker]);
  other.addCredential(newCredential("fmp-main"), fields({ api_key: "k" }), "cli");
  const deadline = performance.now() + 1_000;
  while (!view.byName("fmp-main") && performance.now() < deadline) await pause(20);
  assert.equal(view.byName("fmp-main")?.name, "fmp-main");
  const told = changes;
  assert.ok(told >= 1);
  await pause(600);
  assert.equal(changes, told);
  other.addClientToken("app", {}, "cli");
  view.refresh();
  assert.equal(changes, told + 1);
});

test("a rotation's share of the clients is known as long as its new version waits to become current", async (t) => {
  const { vault } = await newVault(t);
  const { id } = vault.addCredential(newCredential("fmp-main"), fields({ api_key: "k" }), "test");
  const view = watchVault(vault, () => {}, unexpected);
  t.after(() => view.close());
  const seen = () => {
    view.refresh();
    return [view.rotating.map(({ rotation }) => rotation.phase).join(), JSON.stringify([...view.ramps])];
  };
  assert.deepEqual(seen(), ["", "[]"]);
  const pace = { steps: [5, 100], stepMs: 1, graceMs: 1 };
  const wanted = { pace, validate: true, fields: fields({ api_key: "k2" }) };
  vault.write((transaction) => beginRotation(transaction, "fmp-main", wanted, "test"));
  assert.deepEqual(seen(), ["testing", "[]"]);
  const valid = { kind: "tested", version: 2, meaning: "valid", detail: "" } as const;
  sendToRotation(vault, id, valid, "test");
  assert.deepEqual(seen(), ["ramping", `[["${id}",{"to":2,"percent":5}]]`]);
  vault.promote("fmp-main", 2, "test");
  assert.deepEqual(seen(), ["grace", "[]"]);
  vault.write((transaction) => softRemove(transaction, "fmp-main", 1, "test"));
  assert.deepEqual([...seen(), view.byName("fmp-main")], ["", "[]", undefined]);
});

test("a honeytoken looks disabled, a credential is found by its id, and every stored value is known", async (t) => {
  const { vault } = await newVault(t);
  const { id } = vault.addCredential(newCredential("fmp-main"), fields({ api_key: "k" }), "test");
  const owner = { kind: "user" as const, id: "user-7" };
  const bait = newCredential("bait", { metadata: HONEYTOKEN_METADATA, owner });
  vault.addCredential(bait, fields({ api_key: "b" }), "test");
  const view = watchVault(vault, () => {}, unexpected);
  t.after(() => view.close());
  assert.deepEqual(
    view.list().map(({ name, state }) => `${name} ${state}`),
    ["bait disabled", "fmp-main enabled"],
  );
  assert.equal(view.byName("bait")?.state, "disabled");
  assert.equal(view.ownedBy("fmp", "user-7")?.state, "disabled");
  assert.equal(view.byId(id)?.name, "fmp-main");
  assert.equal(view.byId("nobody"), undefined);
  assert.equal(view.values?.size, 2);
  vault.addVersion("fmp-main", fields({ api_key: "k2" }), "current", "test");
  view.refresh();
  assert.equal(view.values?.size, 3);
  vault.seal();
  view.refresh();
  assert.deepEqual([view.values, view.byId(id)], [null, undefined]);
});

test("a vault that cannot be read is reported, and what was known stays in use", async (t) => {
  const { vault } = await newVault(t);
  vault.addCredential(newCredential("fmp-main"), fields({ api_key: "k" }), "test");
  const failures: unknown[] = [];
  const view = watchVault(vault, unexpected, (error) => failures.push(error));
  t.after(() => view.close());
  vault.addCredential(newCredential("fmp-two"), fields({ api_key: "k" }), "test");
  vault.close();
  view.refresh();
  assert.equal(failures.length, 1);
  assert.deepEqual(
    view.list().map(({ name }) => name),
    ["fmp-main"],
  );
});

test("a change between reading the version and the contents is not lost", async (t) => {
  const { vault } = await newVault(t);
  let meddled = false;
  const racing = new Proxy(vault, {
    get(target, key) {
      const value = Reflect.get(target, key, target) as unknown;
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        const result = (value as (...all: unknown[]) => unknown).apply(target, args);
        if (key === "loadTokenTable" && !meddled) {
          meddled = true;
          target.addCredential(newCredential("late"), fields({ api_key: "k" }), "cli");
        }
        return result;
      };
    },
  }) as Vault;
  const view = watchVault(racing, () => {}, unexpected);
  t.after(() => view.close());
  assert.equal(view.byName("late"), undefined);
  view.refresh();
  assert.equal(view.byName("late")?.name, "late");
});
