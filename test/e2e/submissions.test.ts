import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import type { SubmissionKey } from "../../src/store/public-keys.ts";
import type { Vault } from "../../src/store/vault.ts";
import { findCanary, makeCanary } from "../support/canary.ts";
import { pause } from "../support/running-sidekey.ts";
import { startStandIn } from "../support/stand-in.ts";
import { keyOf, sealed } from "../support/submission-fixture.ts";
import { formClient } from "./form-client.ts";
import { HOST, type OneRoute, oneRoute } from "./one-route.ts";

/** Seals a key of the route's credential, as another machine would. */
function sealedMain(key: SubmissionKey, apiKey: string): string {
  return sealed(key, { provider: "openai", name: "main", hosts: [HOST] }, { api_key: apiKey });
}

async function publicKey(sidekey: OneRoute): Promise<SubmissionKey> {
  let key: SubmissionKey | null = null;
  await sidekey.withVault((vault: Vault) => {
    key = keyOf(vault);
  });
  assert.ok(key);
  return key;
}

async function logged(sidekey: { log(): string }, words: RegExp): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!words.test(sidekey.log()) && performance.now() < deadline) await pause(10);
  assert.match(sidekey.log(), words);
}

test("a running daemon takes listed submissions into use: on a change, on reload and at start", async (t) => {
  const provider = await startStandIn(t, { hostnames: [HOST] });
  const started = await oneRoute(t, provider);
  const configDir = dirname(started.policyFile);
  const put = (name: string, text: string): void => writeFileSync(join(configDir, name), text);
  const list = (...names: string[]): void =>
    put("credentials.yaml", `version: 1\nsubmissions: [ ${names.map((name) => `{ file: ./${name} }`).join(", ")} ]\n`);
  const key = await publicKey(started);
  const canaries = [makeCanary(), makeCanary(), makeCanary()];
  const keys = canaries.map(({ text }) => `sk-${text}`);
  const files = keys.map((apiKey, index) => {
    put(`${index}.sealed`, sealedMain(key, apiKey));
    return `${index}.sealed`;
  });
  put("bad.sealed", sealedMain(key, keys[0] ?? "").replace("name: main", "name: spare"));
  let sidekey = started;
  /** The key that arrives at the provider once version `version` is in use. */
  const usedKey = async (version: number): Promise<string | undefined> => {
    await logged(sidekey, new RegExp(`"version":${version},.*"submission_accepted"`));
    const client = formClient(t, "connect-h1", sidekey);
    // The daemon looks for changes of the vault a few times per second.
    const deadline = performance.now() + 5_000;
    for (;;) {
      const { status } = await client.ask({ path: "/v1/models" });
      assert.equal(status, 200);
      const [value] = provider.requests.at(-1)?.values("authorization") ?? [];
      if (value === `Bearer ${keys[version - 2]}` || performance.now() > deadline) return value;
      await pause(20);
    }
  };

  list("bad.sealed", files[0] ?? "");
  assert.equal(await usedKey(2), `Bearer ${keys[0]}`);
  await logged(sidekey, /"source":"\.\/bad\.sealed".*"submission_refused"/);

  list("bad.sealed", files[0] ?? "", files[1] ?? "");
  await sidekey.daemon.reload();
  assert.equal(await usedKey(3), `Bearer ${keys[1]}`);

  await sidekey.daemon.stop();
  list("bad.sealed", ...files);
  sidekey = { ...started, ...(await started.restart()) };
  assert.equal(await usedKey(4), `Bearer ${keys[2]}`);
  await sidekey.withVault((vault) => {
    const entries = vault.listAudit().filter(({ action }) => action.startsWith("submission."));
    assert.deepEqual(entries.map(({ action }) => action).sort(), [
      "submission.accept",
      "submission.accept",
      "submission.accept",
      "submission.refuse",
    ]);
    assert.equal(vault.getCredential("main").versions.length, 4);
  });
  const written = [configDir, sidekey.dataDir].flatMap((dir) => readdirSync(dir).map((name) => join(dir, name)));
  const contents = written.filter((path) => statSync(path).isFile()).map((path) => readFileSync(path));
  for (const canary of canaries) {
    assert.deepEqual(findCanary([...contents, sidekey.log(), started.log()], canary), []);
  }
});
