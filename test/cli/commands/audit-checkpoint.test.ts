import assert from "node:assert/strict";
import { copyFileSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { initializedPlace } from "../../support/cli-process.ts";

test("a checkpoint and a copy of the anchor, kept elsewhere, agree with the later vault and not with another", async (t) => {
  const { run, dir, data } = await initializedPlace(t);
  const out = join(dir, "kept.checkpoint");
  assert.equal((await run(["audit", "checkpoint", "--out", out])).code, 0);
  assert.equal(statSync(out).mode & 0o777, 0o600);
  const again = await run(["audit", "checkpoint", "--out", out]);
  assert.equal(again.code, 1, "a kept checkpoint was overwritten");
  const anchor = join(dir, "kept.anchor");
  copyFileSync(join(data, "audit.anchor"), anchor);
  const printed = await run(["audit", "checkpoint"]);
  assert.match(
    printed.stdout,
    /^sidekey\/[0-9a-f]{32}\n\d+\n\S{44}\nepoch \d+\ntime \S+\n\n\u2014 sidekey\/\S+ \S+\n$/,
  );
  const json = JSON.parse((await run(["audit", "checkpoint", "--json"])).stdout) as Record<string, string>;
  assert.match(json.verifierKey ?? "", /^sidekey\/[0-9a-f]{32}\+[0-9a-f]{8}\+\S{44}$/);
  writeFileSync(join(dir, "printed"), printed.stdout);
  for (const args of [
    ["audit", "verify", "--checkpoint", out, "--anchor", anchor],
    ["audit", "verify", "--checkpoint", join(dir, "printed")],
    ["vault", "status", "--anchor", anchor],
  ]) {
    const { code, all } = await run(args);
    assert.equal(code, 0, `${args.join(" ")}: ${all}`);
  }
  const other = await initializedPlace(t);
  assert.equal((await other.run(["audit", "verify", "--checkpoint", out])).code, 2);
  assert.equal((await other.run(["vault", "status", "--anchor", anchor])).code, 2);
  writeFileSync(out, readFileSync(out, "utf8").replace(/^epoch .*/m, "epoch 999"));
  const edited = await run(["audit", "verify", "--checkpoint", out]);
  assert.equal(edited.code, 2);
  assert.match(edited.stderr, /checkpoint was edited/);
  assert.equal((await run(["audit", "verify", "--anchor", join(dir, "nothing")])).code, 1);
});
