import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type CliPlace, initializedPlace } from "../../support/cli-process.ts";

async function wrapperOf({ run }: CliPlace, kind: string): Promise<string> {
  const wrappers = JSON.parse((await run(["vault", "wrapper", "list", "--json"])).stdout) as {
    id: string;
    kind: string;
  }[];
  return wrappers.find((wrapper) => wrapper.kind === kind)?.id ?? assert.fail(`no ${kind} wrapper`);
}

test("a new key file takes the place of the old one, which opens nothing any more", async (t) => {
  const place = await initializedPlace(t);
  const { run } = place;
  const id = await wrapperOf(place, "file");
  const missing = await run(["vault", "rekey", id]);
  assert.deepEqual([missing.code, /--key-file/.test(missing.stderr)], [2, true], missing.all);
  const path = join(place.dir, "second.key");
  const rekeyed = await run(["vault", "rekey", id, "--key-file", path]);
  assert.equal(rekeyed.code, 0, rekeyed.all);
  assert.equal((await run(["vault", "status"])).code, 3, "daemon.yaml still names the old file");
  const file = join(place.config, "daemon.yaml");
  writeFileSync(file, `${readFileSync(file, "utf8")}\nunlock: [ { file: ${path} } ]\n`);
  assert.equal((await run(["vault", "status"])).code, 0);
  assert.equal((await run(["audit", "verify"])).code, 0);
  assert.equal((await run(["vault", "rekey", id, "--key-file", path])).code, 4);
});

test("a new passphrase takes the place of the old one, and a bad one changes nothing", async (t) => {
  const place = await initializedPlace(t);
  const { run } = place;
  await run(["vault", "wrapper", "add", "passphrase", "--stdin"], { input: "correct horse" });
  const id = await wrapperOf(place, "passphrase");
  const short = await run(["vault", "rekey", id, "--stdin"], { input: "short" });
  assert.equal(short.code, 1, short.all);
  assert.equal(await wrapperOf(place, "passphrase"), id);
  const rekeyed = await run(["vault", "rekey", id, "--stdin"], { input: "battery staple" });
  assert.equal(rekeyed.code, 0, rekeyed.all);
  assert.notEqual(await wrapperOf(place, "passphrase"), id);
});
