import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { softRemove } from "../../../src/store/credential-removal.ts";
import { openVault } from "../../../src/store/vault.ts";
import { type CliPlace, type CliRun, initializedPlace } from "../../support/cli-process.ts";

const KEY = "CANARYcanary0123456789abcdefABCD";
const ADD = ["credential", "add", "fmp", "--stdin"];

async function withCredential(t: TestContext): Promise<CliPlace> {
  const place = await initializedPlace(t);
  ok(await place.run(ADD, { input: KEY }));
  return place;
}

function ok(result: CliRun): CliRun {
  assert.equal(result.code, 0, result.all);
  return result;
}

describe("sidekey credential remove", () => {
  test("takes it out of use and out of the lists, keeps its name, and restore brings it back", async (t) => {
    const place = await withCredential(t);
    const unasked = await place.run(["credential", "remove", "fmp-main"]);
    assert.equal(unasked.code, 2, unasked.all);
    assert.match(unasked.stderr, /used by route fmp\n[\s\S]*there is no terminal to ask at\n {2}add --yes/);
    const removed = ok(await place.run(["credential", "remove", "fmp-main", "--keep", "9d", "--yes"]));
    assert.match(removed.stderr, /until 20.* `sidekey credential restore fmp-main` brings it back/);
    assert.doesNotMatch(ok(await place.run(["credential", "list"])).stdout, /fmp-main/);
    assert.match(ok(await place.run(["credential", "list", "--removed"])).stdout, /^NAME.*SHREDDED ON\nfmp-main +fmp /);
    for (const args of [["show"], ["enable"], ["revoke"], ["remove", "--yes"], ["rotate", "--stdin"]]) {
      const [verb = "", ...rest] = args;
      const refused = await place.run(["credential", verb, "fmp-main", ...rest], { input: KEY });
      assert.equal(refused.code, 4, `${verb}: ${refused.all}`);
    }
    const taken = await place.run(ADD, { input: KEY });
    assert.equal(taken.code, 1, taken.all);
    assert.match(taken.stderr, /was removed and can still be restored/);
    assert.equal(ok(await place.run(["credential", "restore", "fmp-main"])).stdout, "fmp-main is back in use\n");
    assert.match(ok(await place.run(["credential", "show", "fmp-main"])).stdout, /^state +enabled$/m);
    assert.equal((await place.run(["credential", "restore", "fmp-main"])).code, 4);
  });

  test("--shred deletes it now, removed before or not, and frees its name", async (t) => {
    const place = await withCredential(t);
    const shred = ["credential", "remove", "fmp-main", "--shred"];
    assert.equal((await place.run(shred)).code, 2);
    assert.equal((await place.run([...shred, "--keep", "9d", "--yes"])).code, 2);
    assert.match(ok(await place.run([...shred, "--yes"])).stdout, /^fmp-main is shredded; backups made before/);
    ok(await place.run(ADD, { input: KEY }));
    ok(await place.run(["credential", "remove", "fmp-main", "--yes"]));
    ok(await place.run([...shred, "--yes"]));
    assert.match(ok(await place.run(["credential", "list", "--removed"])).stderr, /no removed credentials/);
    assert.equal((await place.run([...shred, "--yes"])).code, 4);
    const actions = ok(await place.run(["audit", "list"])).stdout;
    assert.match(actions, /credential\.shred/);
  });

  test("what was removed long enough ago is shredded by the next command that changes something", async (t) => {
    const place = await withCredential(t);
    const vault = openVault(place.data, { now: () => Date.now() - 10 * 86_400_000 });
    await vault.unseal([{ kind: "file", path: join(place.data, "root.key") }]);
    vault.write((transaction) => softRemove(transaction, "fmp-main", 9 * 86_400_000, "ana"));
    vault.close();
    assert.match(ok(await place.run(["credential", "list", "--removed"])).stdout, /fmp-main/);
    const changed = ok(await place.run(["credential", "disable", "demo-main"]));
    assert.match(changed.stderr, /shredded what was removed long enough ago: fmp-main/);
    assert.match(ok(await place.run(["credential", "list", "--removed"])).stderr, /no removed credentials/);
  });

  test("a broken policy or usage log keeps nobody from revoking a key", async (t) => {
    const place = await withCredential(t);
    writeFileSync(join(place.config, "policy.yaml"), "version: 7\n");
    writeFileSync(join(place.data, "usage.db"), "this is no database");
    const revoked = ok(await place.run(["credential", "revoke", "fmp-main", "1"]));
    assert.equal(revoked.stdout, "fmp-main: version 1 revoked; it will not be used again\n");
    assert.match(revoked.stderr, /which routes use it is not known: /);
    assert.match(revoked.stderr, /who used version 1 is not known: /);
  });
});
