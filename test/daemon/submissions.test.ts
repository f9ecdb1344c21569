import assert from "node:assert/strict";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { followSubmissions, type Submissions } from "../../src/daemon/submissions.ts";
import { getRows, putRow, type Row } from "../../src/store/rows.ts";
import type { Vault } from "../../src/store/vault.ts";
import { findCanary } from "../support/canary.ts";
import { CATALOG_DIR, pause } from "../support/running-sidekey.ts";
import { FMP_KEY, keyOf, sealed } from "../support/submission-fixture.ts";
import { newVault, type VaultFixture } from "../support/vault-fixture.ts";

interface Bench extends VaultFixture {
  configDir: string;
  /** `submission_accepted fmp-main`, `submission_refused ./x: why` and so on. */
  said: string[];
  /** `raise ...`, `clear`. */
  alerts: string[];
  put(name: string, text: string): void;
  list(...entries: string[]): void;
  follow(vault?: Vault): Submissions;
}

async function bench(t: TestContext): Promise<Bench> {
  const fixture = await newVault(t);
  const configDir = join(fixture.directory, "config");
  mkdirSync(configDir);
  const said: string[] = [];
  const alerts: string[] = [];
  const say = (msg: string, fields: object = {}): void => {
    const { source, problem, credential } = fields as Record<string, string>;
    said.push(`${msg} ${problem === undefined ? credential : `${source}: ${problem}`}`);
  };
  return {
    ...fixture,
    configDir,
    said,
    alerts,
    put: (name, text) => writeFileSync(join(configDir, name), text),
    list: (...entries) => {
      const lines = entries.map((entry) => `  - ${entry}\n`).join("");
      writeFileSync(join(configDir, "credentials.yaml"), `version: 1\nsubmissions:\n${lines}`);
    },
    follow: (vault = fixture.vault) => {
      const submissions = followSubmissions({
        vault,
        config: { configDir, providersDir: CATALOG_DIR },
        log: { info: say, warn: say, error: say },
        alerts: {
          raise: (kind, object, severity, message) => alerts.push(`raise ${kind} ${object} ${severity} ${message}`),
          clear: () => alerts.push("clear"),
        },
        pollMs: 15,
        settleMs: 20,
        retryMs: 20,
      });
      t.after(() => submissions.close());
      return submissions;
    },
  };
}

async function until(condition: () => boolean): Promise<void> {
  for (let n = 0; n < 600 && !condition(); n++) await pause(5);
  assert.ok(condition(), "nothing happened");
}

function names(vault: Vault): string[] {
  return vault.listCredentials().map(({ name, versions }) => `${name}/${versions.length}`);
}

function actions(vault: Vault, action: string): number {
  return vault.listAudit().filter((entry) => entry.action === action).length;
}

test("listed submissions are accepted before the start goes on, from files and inline, each once", async (t) => {
  const { vault, list, put, follow, said, alerts } = await bench(t);
  const key = keyOf(vault);
  put("main.sealed", sealed(key));
  const inline = sealed(key, { name: "fmp-inline" }).trimEnd().replaceAll("\n", "\n      ");
  list("file: ./main.sealed", `sealed: |\n      ${inline}`);
  const submissions = follow();
  assert.deepEqual(names(vault), ["fmp-inline/1", "fmp-main/1"]);
  assert.deepEqual(said, ["submission_accepted fmp-main", "submission_accepted fmp-inline"]);
  submissions.apply();
  follow();
  assert.deepEqual(names(vault), ["fmp-inline/1", "fmp-main/1"]);
  assert.equal(actions(vault, "submission.accept"), 2);
  assert.equal(vault.listAudit().at(-1)?.actor, "config:credentials.yaml");
  assert.ok(!alerts.some((alert) => alert.startsWith("raise")));
});

test("a list that comes, grows and changes, and a file behind it that is replaced, are noticed", async (t) => {
  const { vault, list, put, follow } = await bench(t);
  const key = keyOf(vault);
  follow();
  put("main.sealed", sealed(key));
  list("file: ./main.sealed");
  await until(() => names(vault).join() === "fmp-main/1");
  put("main.sealed", sealed(key, {}, { api_key: FMP_KEY.toLowerCase() }));
  await until(() => names(vault).join() === "fmp-main/2");
  put("spare.sealed", sealed(key, { name: "fmp-spare" }));
  list("file: ./main.sealed", "file: ./spare.sealed");
  await until(() => names(vault).join() === "fmp-main/2,fmp-spare/1");
  put("next.sealed", sealed(key));
  list("{ file: ./next.sealed, as: pending }");
  await until(() => names(vault).join() === "fmp-main/3,fmp-spare/1");
  assert.equal(vault.getCredential("fmp-main").versions[2]?.stage, "pending");
});

test("a bad one among good ones changes nothing, is audited once, raised, and cleared when it is gone", async (t) => {
  const { vault, list, put, follow, said, alerts } = await bench(t);
  const key = keyOf(vault);
  const good = sealed(key, { name: "fmp-good" });
  put("good.sealed", good);
  put("bad.sealed", sealed(key).replace("fmp-main", "fmp-mein"));
  put("short.sealed", sealed(key, { name: "fmp-short" }, { api_key: "short" }));
  put("host.sealed", sealed(key, { name: "fmp-host", hosts: ["attacker.example"] }));
  put("fields.sealed", sealed(key, { name: "fmp-fields" }, { api_key: FMP_KEY, more: "x" }));
  put("provider.sealed", sealed(key, { name: "fmp-provider", provider: "nope" }));
  put("place.sealed", sealed(key, { name: "fmp-place", environment: "paper" }));
  put("line.sealed", sealed(key, { name: "fmp-line" }, { api_key: `${FMP_KEY.slice(0, 20)}\r\nx-evil: 1` }));
  put("junk.sealed", "hello");
  const bad = ["bad", "short", "host", "fields", "provider", "place", "line", "junk"];
  list(...bad.map((name) => `file: ./${name}.sealed`), "file: ./good.sealed");
  const submissions = follow();
  assert.deepEqual(names(vault), ["fmp-good/1"]);
  const wanted = [
    /bad\.sealed: the submission does not open/,
    /short\.sealed: fmp api_key: has 5 characters, expected 32/,
    /host\.sealed: attacker\.example is no host of fmp/,
    /fields\.sealed: fmp has the fields api_key, but api_key, more were submitted/,
    /provider\.sealed: the catalog has no provider nope/,
    /place\.sealed: fmp has no environment paper/,
    /line\.sealed: fmp api_key: byte 21 is a space, a control character/,
    /junk\.sealed: this is no sealed submission/,
  ];
  for (const [index, words] of wanted.entries()) {
    assert.match(said.filter((line) => line.startsWith("submission_refused"))[index] ?? "", words);
  }
  assert.equal(actions(vault, "submission.refuse"), bad.length);
  assert.match(alerts.at(-1) ?? "", /^raise submission_refused file:credentials\.yaml warning .*\(and 7 more/);
  const [lines, raised] = [said.length, alerts.length];
  submissions.apply();
  assert.deepEqual([said.length, alerts.length], [lines, raised], "the same was said again");
  // As after a restart: said again, but the audit has it already.
  follow().close();
  assert.equal(said.length, lines + bad.length);
  assert.equal(actions(vault, "submission.refuse"), bad.length);
  list("file: ./good.sealed");
  await until(() => alerts.at(-1) === "clear");
  const canary = { text: FMP_KEY, bytes: Buffer.from(FMP_KEY) };
  assert.deepEqual(findCanary([said.join(), alerts.join(), JSON.stringify(vault.listAudit())], canary), []);
});

test("a list that cannot be read, or a file that is missing, is told, and is taken once it is right", async (t) => {
  const { vault, list, put, follow, said, alerts, configDir } = await bench(t);
  writeFileSync(join(configDir, "credentials.yaml"), "version: 1\nsubmissions: 7\n");
  follow();
  assert.match(said[0] ?? "", /submission_refused credentials\.yaml: credentials\.yaml:2 submissions/);
  list("file: ./late.sealed");
  await until(() => said.length > 1);
  assert.match(said[1] ?? "", /submission_waits \.\/late\.sealed: .*cannot be read \(ENOENT\)/);
  put("late.sealed", sealed(keyOf(vault)));
  await until(() => names(vault).length === 1);
  await until(() => alerts.at(-1) === "clear");
  assert.equal(actions(vault, "submission.refuse"), 0);
  rmSync(join(configDir, "credentials.yaml"));
});

test("while the vault or a category is sealed they wait, and are taken after the unsealing", async (t) => {
  const { vault, list, put, follow, said, alerts, unlocker } = await bench(t);
  put("main.sealed", sealed(keyOf(vault)));
  list("file: ./main.sealed");
  vault.seal();
  follow();
  await pause(60);
  assert.deepEqual([said, alerts, vault.listCredentials()], [[], [], []]);
  await vault.unseal([unlocker]);
  await until(() => vault.listCredentials().length === 1);
  put("two.sealed", sealed(keyOf(vault), { name: "fmp-two" }));
  const setState = (state: string): void =>
    vault.write(({ db, keys, note }) => {
      const [row] = getRows<Row>(db, keys, "categories", { name: "market-data" });
      putRow(db, keys, "categories", { ...row, state });
      note({ actor: "ana", action: "category.seal", object: "category:market-data", detail: {} });
    });
  setState("disabled");
  list("file: ./main.sealed", "file: ./two.sealed");
  await until(() => alerts.at(-1)?.includes("category market-data is sealed") === true);
  await pause(60);
  assert.equal(said.filter((line) => line.startsWith("submission_waits")).length, 1);
  setState("enabled");
  await until(() => vault.listCredentials().length === 2);
  await until(() => alerts.at(-1) === "clear");
  assert.equal(actions(vault, "submission.refuse"), 0);
});

test("two that follow the same list on the same vault accept each submission once", async (t) => {
  const { vault, list, put, follow, reopen, unlocker } = await bench(t);
  const key = keyOf(vault);
  const other = reopen();
  await other.unseal([unlocker]);
  follow();
  follow(other);
  const wanted = ["a", "b", "c", "d"];
  for (const name of wanted) put(`${name}.sealed`, sealed(key, { name }));
  list(...wanted.map((name) => `file: ./${name}.sealed`));
  await until(() => vault.listCredentials().length === wanted.length);
  await pause(60);
  assert.deepEqual(names(vault), ["a/1", "b/1", "c/1", "d/1"]);
  assert.equal(actions(vault, "submission.accept"), wanted.length);
});
