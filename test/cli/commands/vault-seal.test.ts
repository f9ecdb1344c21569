import assert from "node:assert/strict";
import { renameSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { initializedPlace, startCli } from "../../support/cli-process.ts";
import { freePortsIn, untilStatus } from "../../support/served-place.ts";

test("serve starts sealed when its key is missing, and unseal opens it without a restart", async (t) => {
  const place = await initializedPlace(t);
  await freePortsIn(place.config);
  const key = join(place.data, "root.key");
  const elsewhere = join(place.dir, "brought.key");
  renameSync(key, elsewhere);
  const child = startCli(t, place.dir, ["serve"]);
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  await untilStatus(place, 3);
  assert.match(said, /root\.key does not exist[\s\S]*vault unseal/);
  const refused = await place.run(["vault", "unseal"]);
  assert.deepEqual([refused.code, /root\.key does not exist/.test(refused.stderr)], [3, true], refused.all);
  const opened = await place.run(["vault", "unseal", "--key-file", elsewhere]);
  assert.equal(opened.code, 0, opened.all);
  assert.equal((await untilStatus(place, 0)).sealed, false);
  assert.match((await place.run(["vault", "unseal"])).stderr, /not sealed; nothing to do/);
  const sealed = await place.run(["vault", "seal"]);
  assert.equal(sealed.code, 0, sealed.all);
  assert.match(String((await untilStatus(place, 3)).sealedBecause), /an operator sealed it/);
});

test("up, too, starts sealed when the vault is there and does not open, and init says why it cannot go on", async (t) => {
  const place = await initializedPlace(t);
  await freePortsIn(place.config);
  renameSync(join(place.data, "root.key"), join(place.dir, "brought.key"));
  const init = await place.run(["init"]);
  assert.deepEqual([init.code, /root\.key does not exist/.test(init.stderr)], [3, true], init.all);
  startCli(t, place.dir, ["up"]).stderr.resume();
  assert.match(String((await untilStatus(place, 3)).sealedBecause), /root\.key does not exist/);
});

test("a category is sealed and unsealed also without a daemon, and unknown ones are named", async (t) => {
  const { run } = await initializedPlace(t);
  assert.equal((await run(["vault", "seal", "--category", "trading"])).code, 0);
  assert.match((await run(["vault", "status"])).stdout, /trading 1 \(sealed\)/);
  assert.equal((await run(["vault", "unseal", "--category", "trading"])).code, 0);
  assert.doesNotMatch((await run(["vault", "status"])).stdout, /sealed\)/);
  const unknown = await run(["vault", "seal", "--category", "nothing"]);
  assert.deepEqual([unknown.code, /no category "nothing"/.test(unknown.stderr)], [4, true], unknown.all);
  const idle = await run(["vault", "seal"]);
  assert.deepEqual([idle.code, /no daemon answers/.test(idle.stderr)], [1, true], idle.all);
});
