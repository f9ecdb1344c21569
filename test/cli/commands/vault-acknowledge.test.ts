import assert from "node:assert/strict";
import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type CliPlace, initializedPlace } from "../../support/cli-process.ts";
import { editDatabase } from "../../support/vault-fixture.ts";

/** A place whose vault.db is older than its audit.anchor, and what the anchor was then. */
async function rolledBack(t: TestContext): Promise<CliPlace & { readonly token: string; readonly lost: string }> {
  const place = await initializedPlace(t);
  const db = join(place.data, "vault.db");
  editDatabase(place.data, (open) => void open.pragma("wal_checkpoint(TRUNCATE)"));
  const old = readFileSync(db);
  const added = await place.run(["client", "add", "batch"]);
  assert.equal(added.code, 0, added.all);
  for (const suffix of ["-wal", "-shm"]) rmSync(`${db}${suffix}`, { force: true });
  writeFileSync(db, old, { mode: 0o600 });
  const lost = join(place.dir, "kept.anchor");
  copyFileSync(join(place.data, "audit.anchor"), lost);
  return { ...place, lost };
}

test("a rolled-back vault is listed as unverified, refuses every change, and says what to do", async (t) => {
  const { run } = await rolledBack(t);
  for (const args of [
    ["credential", "list", "--json"],
    ["client", "list", "--json"],
    ["audit", "list", "--json"],
    ["vault", "wrapper", "list", "--json"],
  ]) {
    const { code, stdout, stderr } = await run(args);
    assert.equal(code, 3, `${args.join(" ")}: ${stderr}`);
    assert.match(stderr, /^warning: UNVERIFIED, .*entries \d+ to \d+ are missing/);
    assert.ok(Array.isArray(JSON.parse(stdout)), stdout);
  }
  for (const args of [
    ["client", "add", "late"],
    ["client", "revoke", "app"],
    ["vault", "wrapper", "add", "passphrase", "--stdin"],
    ["audit", "checkpoint"],
  ]) {
    const { code, stderr } = await run(args, { input: "a long enough passphrase\na long enough passphrase\n" });
    assert.notEqual(code, 0, args.join(" "));
    assert.match(stderr, /are missing: .*acknowledge-rollback/, args.join(" "));
  }
  const verified = await run(["audit", "verify"]);
  assert.equal(verified.code, 1);
  assert.match(verified.stderr, /entries \d+ to \d+ are missing.*acknowledge-rollback/s);
  const status = await run(["vault", "status", "--json"]);
  assert.equal(status.code, 3);
  assert.equal((JSON.parse(status.stdout) as { sealed: boolean }).sealed, true);
});

test("acknowledging needs the typed id or --yes, shows both ends, and leaves a signed statement and a vault that opens", async (t) => {
  const { run, data, lost } = await rolledBack(t);
  const asked = await run(["vault", "acknowledge-rollback"]);
  assert.equal(asked.code, 1);
  assert.match(asked.stderr, /no terminal to confirm at; nothing was changed/);
  assert.match(asked.stderr, /audit\.anchor +audit entry \d+, epoch \d+/);
  assert.match(asked.stderr, /lost +\d+ audit entries with 1 changes/);
  assert.equal((await run(["client", "list"])).code, 3, "asking changed something");
  assert.equal((await run(["vault", "acknowledge-rollback", "--reason", "x".repeat(501), "--yes"])).code, 2);
  const done = await run(["vault", "acknowledge-rollback", "--yes", "--reason", "restored after a disk failure"]);
  assert.equal(done.code, 0, done.all);
  assert.equal(readdirSync(join(data, "acknowledgements")).length, 1);
  assert.equal((await run(["client", "list"])).code, 0);
  assert.equal((await run(["audit", "verify"])).code, 0);
  const audit = JSON.parse((await run(["audit", "list", "--json"])).stdout) as { action: string; detail: object }[];
  const entry = audit.find(({ action }) => action === "vault.accept-rollback");
  assert.match(JSON.stringify(entry?.detail), /"reason":"restored after a disk failure".*"signature":"[0-9a-f]{128}"/);
  const kept = await run(["audit", "verify", "--anchor", lost]);
  assert.equal(kept.code, 1, "the copy kept elsewhere must go on telling what was lost");
  const again = await run(["vault", "acknowledge-rollback", "--yes"]);
  assert.equal(again.code, 0);
  assert.match(again.stderr, /nothing to acknowledge/);
});

test("a vault that is broken in itself cannot be acknowledged", async (t) => {
  const { run, data } = await rolledBack(t);
  editDatabase(data, (db) => db.exec("UPDATE client_tokens SET client = 'admin'"));
  const { code, stderr } = await run(["vault", "acknowledge-rollback", "--yes"]);
  assert.equal(code, 1);
  assert.match(stderr, /client_tokens .* edited or planted/);
  assert.throws(() => readdirSync(join(data, "acknowledgements")));
});
