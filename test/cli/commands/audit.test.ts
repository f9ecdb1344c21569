import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { initializedPlace } from "../../support/cli-process.ts";

test("list filters by number and age, verify sees a missing anchor", async (t) => {
  const { run, data } = await initializedPlace(t);
  const two = JSON.parse((await run(["audit", "list", "--limit", "2", "--json"])).stdout) as { actor: string }[];
  assert.equal(two.length, 2);
  assert.match(two[0]?.actor ?? "", /^cli:\S+$/);
  assert.match((await run(["audit", "list", "--since", "1h"])).stdout, /^\d+ .* client\.add-token +client:app /m);
  assert.equal((await run(["audit", "list", "--limit", "0"])).code, 2);
  assert.equal((await run(["audit", "list", "--since", "yesterday"])).code, 2);
  assert.equal((await run(["audit", "verify"])).code, 0);
  rmSync(join(data, "audit.anchor"));
  const verified = await run(["audit", "verify"]);
  assert.equal(verified.code, 1, verified.all);
  assert.match(verified.stderr, /^sidekey: .*anchor/);
});
