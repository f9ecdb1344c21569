import assert from "node:assert/strict";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { initializedPlace, startCli } from "../../support/cli-process.ts";
import { freePortsIn, untilStatus } from "../../support/served-place.ts";

test("all categories get new keys, and what was stored still opens", async (t) => {
  const { run } = await initializedPlace(t);
  const added = await run(["credential", "add", "fmp", "--stdin", "--no-validate"], { input: "0123456789abcdef0123" });
  assert.equal(added.code, 0, added.all);
  const rotated = await run(["vault", "rotate"]);
  assert.equal(rotated.code, 0, rotated.all);
  assert.match(rotated.stdout, /category market-data has key generation 2/);
  assert.match(rotated.stdout, /2 of 2 values are wrapped with the new keys/);
  assert.equal((await run(["audit", "verify"])).code, 0);
  const one = await run(["vault", "rotate", "--category", "ai"]);
  assert.match(one.stdout, /category ai has key generation 3/);
});

test("the root key is replaced under a running daemon; a wrapper that nothing opens has to be given up by name", async (t) => {
  const place = await initializedPlace(t);
  const { run } = place;
  await freePortsIn(place.config);
  const child = startCli(t, place.dir, ["serve"]);
  child.stderr.resume();
  await untilStatus(place, 0);
  assert.equal((await run(["vault", "wrapper", "add", "passphrase", "--stdin"], { input: "correct horse" })).code, 0);
  const refused = await run(["vault", "rotate", "--root"]);
  const id = /wrapper ([0-9a-f]{16}) \(passphrase\) could not be opened/.exec(refused.stderr)?.[1];
  assert.ok(refused.code === 1 && id, refused.all);
  const rotated = await run(["vault", "rotate", "--root", "--drop", id]);
  assert.deepEqual([rotated.code, /opens with: file/.test(rotated.stdout)], [0, true], rotated.all);
  const verified = await run(["audit", "verify"]);
  assert.equal(verified.code, 0, verified.all);
  assert.equal((await untilStatus(place, 0)).sealed, false);
  assert.equal((await run(["vault", "rotate", "--root", "--category", "ai"])).code, 2);
});

test("a category is destroyed only when its name is repeated, and then for good", async (t) => {
  const place = await initializedPlace(t);
  const { run } = place;
  copyFileSync(join(place.data, "vault.db"), join(place.dir, "before.db"));
  for (const confirm of [[], ["--confirm", "tradin"]]) {
    const kept = await run(["vault", "destroy", "--category", "trading", ...confirm]);
    assert.notEqual(kept.code, 0);
  }
  assert.match((await run(["vault", "status"])).stdout, /trading 1,?$/m);
  const gone = await run(["vault", "destroy", "--category", "trading", "--confirm", "trading"]);
  assert.equal(gone.code, 0, gone.all);
  const refused = await run(["vault", "unseal", "--category", "trading"]);
  assert.match(refused.stderr, /category trading was destroyed/);
  const audit = await run(["audit", "list", "--json"]);
  assert.match(audit.stdout, /category\.destroy/);
});
