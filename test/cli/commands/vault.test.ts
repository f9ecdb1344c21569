import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { initializedPlace } from "../../support/cli-process.ts";

test("a passphrase wrapper is added beside the key file, and short ones are refused", async (t) => {
  const { run, config, data } = await initializedPlace(t);
  const short = await run(["vault", "wrapper", "add", "passphrase", "--stdin"], { input: "short" });
  assert.notEqual(short.code, 0);
  const added = await run(["vault", "wrapper", "add", "passphrase", "--stdin"], { input: "CANARY correct horse\n" });
  assert.equal(added.code, 0, added.all);
  assert.ok(!added.all.includes("CANARY"));
  const wrappers = JSON.parse((await run(["vault", "wrapper", "list", "--json"])).stdout) as { kind: string }[];
  assert.deepEqual(wrappers.map((wrapper) => wrapper.kind).sort(), ["file", "passphrase"]);

  const status = await run(["vault", "status", "--json"]);
  assert.equal((JSON.parse(status.stdout) as { sealed: boolean }).sealed, false);
  // Nobody can be asked here: the vault stays sealed, and the message says why.
  rmSync(join(data, "root.key"));
  const file = join(config, "daemon.yaml");
  writeFileSync(file, `${readFileSync(file, "utf8")}\nunlock: [ { passphrase: prompt } ]\n`);
  const sealed = await run(["vault", "status", "--json"]);
  assert.equal(sealed.code, 3, sealed.all);
  assert.match((JSON.parse(sealed.stdout) as { problem: string }).problem, /no terminal to ask at/);
});
