import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { initializedPlace } from "../../support/cli-process.ts";

const TOKEN = /skc_[a-z2-7]{10}_[A-Za-z0-9_-]{43}/;

describe("sidekey client", () => {
  test("a token is alone on stdout when it is made, and never shown again", async (t) => {
    const { run, token } = await initializedPlace(t);
    const added = await run(["client", "add", "app", "--label", "compose", "--expires", "30d"]);
    assert.match(added.stdout, new RegExp(`^${TOKEN.source}\\n$`));
    assert.match(added.stderr, /not shown again/);
    for (const args of [["client", "list"], ["client", "list", "--json"], ["audit", "list"], ["init"]]) {
      const { code, all } = await run(args);
      assert.equal(code, 0, all);
      assert.ok(!all.includes(token) && !all.includes(added.stdout.trim()), args.join(" "));
      assert.doesNotMatch(all, TOKEN);
    }
    const rows = JSON.parse((await run(["client", "list", "--json"])).stdout) as { label: string }[];
    assert.deepEqual(rows.map((row) => row.label).sort(), ["compose", "first start"]);
  });

  test("revoke takes an id or a client; an unknown one is exit 4", async (t) => {
    const { run, token } = await initializedPlace(t);
    const id = token.split("_")[1] ?? "";
    assert.equal((await run(["client", "revoke", "nobody"])).code, 4);
    assert.equal((await run(["client", "revoke", id])).stdout, `revoked ${id}\n`);
    assert.match((await run(["client", "revoke", "app"])).stderr, /nothing to revoke/);
    assert.equal((await run(["client", "add", "app", "--expires", "2001-01-01"])).code, 2);
  });
});
