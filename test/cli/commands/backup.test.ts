import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { answers } from "../../../src/daemon/control.ts";
import { type CliPlace, initializedPlace, startCli } from "../../support/cli-process.ts";
import { tempDir } from "../../support/temp-dir.ts";

interface Made {
  readonly path: string;
  readonly vault: string;
  readonly bytes: number;
  readonly audit: { readonly seq: number };
  readonly warnings: readonly string[];
}

async function create(place: CliPlace, ...args: string[]): Promise<Made> {
  const run = await place.run(["backup", "create", "--json", ...args]);
  assert.equal(run.code, 0, run.all);
  return JSON.parse(run.stdout) as Made;
}

async function reasonOf(place: CliPlace, file: string, ...args: string[]): Promise<string> {
  const run = await place.run([...args, "backup", "verify", file, "--json"]);
  assert.equal(run.code, 1, run.all);
  const answer = JSON.parse(run.stdout) as { ok: boolean; reason: string };
  assert.equal(answer.ok, false);
  return answer.reason;
}

async function useFreePorts(place: CliPlace): Promise<void> {
  const file = join(place.config, "daemon.yaml");
  let text = readFileSync(file, "utf8");
  for (const usual of ["8787", "9477"]) {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    await new Promise((resolve) => server.close(resolve));
    const port = typeof address === "object" && address !== null ? address.port : 0;
    text = text.replace(`127.0.0.1:${usual}`, `127.0.0.1:${port}`);
  }
  writeFileSync(file, text);
}

async function untilAnswering(socket: string): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await answers(socket))) {
    assert.ok(performance.now() < deadline, "the daemon did not start");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test("create says what it made, in the usual place, and that the key file is not in it", async (t) => {
  const place = await initializedPlace(t);
  const run = await place.run(["backup", "create", "--with", "usage,config"]);
  assert.equal(run.code, 0, run.all);
  const [name = ""] = readdirSync(join(place.dir, "backups"));
  assert.match(name, /^sidekey-[0-9a-f]{8}-[0-9]{8}T[0-9]{9}Z\.backup$/);
  for (const said of [name, "vault", "epoch", "audit", "opens with", "file", "configuration files"]) {
    assert.ok(run.stdout.includes(said), said);
  }
  assert.match(run.stderr, /root key file is not in it/);
  assert.equal(statSync(join(place.dir, "backups", name)).mode & 0o777, 0o600);
  const made = await create(place, "--out", place.dir);
  assert.equal(made.path.startsWith(place.dir), true);
  assert.equal(statSync(made.path).size, made.bytes);
  const beside = await place.run(["backup", "create", "--out", join(place.data, "here.backup")]);
  assert.match(beside.stderr, /the key file lies in .* too/);
  for (const args of [
    ["--with", "keys"],
    ["--out", "-", "--json"],
  ]) {
    assert.equal((await place.run(["backup", "create", ...args])).code, 2);
  }
  assert.equal((await place.run(["backup", "create", "--out", made.path])).code, 1);
});

test("verify names why a backup cannot be used, and exits with 1", async (t) => {
  const place = await initializedPlace(t);
  const { path } = await create(place);
  const good = await place.run(["backup", "verify", path, "--all"]);
  assert.equal(good.code, 0, good.all);
  assert.match(good.stdout, /is whole and opens with file/);
  const bytes = readFileSync(path);
  const broken = join(place.dir, "broken.backup");
  const write = (content: Buffer): void => writeFileSync(broken, content);
  write(bytes.subarray(0, bytes.length - 1));
  assert.equal(await reasonOf(place, broken), "truncated");
  const flipped = Buffer.from(bytes);
  flipped[60_000] = (flipped[60_000] ?? 0) ^ 16;
  write(flipped);
  assert.equal(await reasonOf(place, broken), "damaged");
  const newer = Buffer.from(bytes);
  newer.writeUInt32BE(7, 15);
  write(newer);
  assert.equal(await reasonOf(place, broken), "newer_format");
  write(Buffer.from("something else"));
  assert.equal(await reasonOf(place, broken), "not_a_backup");
  const other = await initializedPlace(t);
  assert.equal(await reasonOf(other, path), "wrong_key");
  const key = join(place.data, "root.key");
  const foreign = await other.run(["backup", "verify", path, "--unlock-file", key]);
  assert.equal(foreign.code, 1);
  assert.match(foreign.stderr, /foreign: it is a backup of vault .*\n.*--data/);
  const elsewhere = await other.run(["--data", "empty", "backup", "verify", path, "--unlock-file", key, "--json"]);
  assert.equal(elsewhere.code, 0, elsewhere.all);
  assert.equal(existsSync(join(other.dir, "empty")), false);
  assert.equal((await other.run(["--data", "empty", "backup", "verify", path])).code, 3);
});

test("a backup goes through a pipe to another machine that has nothing but a passphrase", async (t) => {
  const place = await initializedPlace(t);
  const canary = "CANARY correct horse";
  const added = await place.run(["vault", "wrapper", "add", "passphrase", "--stdin"], { input: canary });
  assert.equal(added.code, 0, added.all);
  const command = `"${process.execPath}" "${join(import.meta.dirname, "../../../src/cli/main.ts")}"`;
  const env = { PATH: process.env.PATH ?? "", HOME: place.dir };
  execFileSync("sh", ["-c", `${command} backup create --out - > piped.backup`], { cwd: place.dir, env, stdio: "pipe" });
  const away = tempDir(t);
  copyFileSync(join(place.dir, "piped.backup"), join(away, "piped.backup"));
  const there: CliPlace = {
    ...place,
    run: (args, options) => place.run(["--data", join(away, "data"), ...args], options),
  };
  const wrong = await there.run(["backup", "restore", join(away, "piped.backup"), "--passphrase", "--stdin"], {
    input: "another passphrase",
  });
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /wrong key/);
  assert.equal(existsSync(join(away, "data")), false);
  const right = await there.run(
    ["backup", "restore", join(away, "piped.backup"), "--passphrase", "--stdin", "--json"],
    {
      input: canary,
    },
  );
  assert.equal(right.code, 0, right.all);
  assert.ok(!right.all.includes("CANARY"));
  const { opened, versions, rollback } = JSON.parse(right.stdout) as Record<string, unknown>;
  assert.deepEqual([opened, rollback], [versions, null]);
  assert.deepEqual(readdirSync(join(away, "data")).sort(), ["audit.anchor", "vault.db"]);
  // And from a pipe, with the key file.
  const key = join(place.data, "root.key");
  const piped = await place.run(["--data", "again", "backup", "restore", "-", "--unlock-file", key], {
    input: readFileSync(join(away, "piped.backup")),
  });
  assert.equal(piped.code, 0, piped.all);
  for (const args of [["--stdin"], ["--passphrase", "--unlock-file", key]]) {
    assert.equal((await place.run(["backup", "verify", "x", ...args])).code, 2);
  }
});

test("restore refuses a vault that is there or served, replaces it when told to, and says when it is older", async (t) => {
  const place = await initializedPlace(t);
  const { path } = await create(place);
  const again = await place.run(["backup", "restore", path]);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /holds a vault\n.*--replace/);
  const other = await initializedPlace(t);
  const foreign = await other.run([
    "backup",
    "restore",
    path,
    "--replace",
    "--unlock-file",
    join(place.data, "root.key"),
  ]);
  assert.equal(foreign.code, 1);
  assert.match(foreign.stderr, /foreign/);
  assert.equal((await place.run(["client", "add", "later"])).code, 0);
  await useFreePorts(place);
  const child = startCli(t, place.dir, ["serve"]);
  await untilAnswering(join(place.data, "daemon.sock"));
  const served = await place.run(["backup", "restore", path, "--replace"]);
  assert.equal(served.code, 1);
  assert.match(served.stderr, /a daemon serves .*nothing was changed\n.*stop it/);
  // Made while it serves.
  await create(place);
  child.kill("SIGTERM");
  await new Promise((resolve) => child.once("close", resolve));
  const replaced = await place.run(["backup", "restore", path, "--replace"]);
  assert.equal(replaced.code, 0, replaced.all);
  assert.match(replaced.stderr, /what was there before is in .*data\.before-restore-/);
  assert.match(replaced.stderr, /older than what this machine knew.*acknowledge-rollback/s);
  assert.notEqual((await place.run(["client", "list"])).code, 0);
  const strange = join(place.dir, "strange");
  mkdirSync(strange, { mode: 0o700 });
  writeFileSync(join(strange, "thesis.txt"), "");
  const refused = await place.run(["--data", "strange", "backup", "restore", path]);
  assert.match(refused.stderr, /holds other things/);
});

test("a drill restores, opens everything, starts a daemon, says how long it took, and leaves nothing", async (t) => {
  const place = await initializedPlace(t);
  const { path } = await create(place);
  const before = readdirSync(place.data);
  const run = await place.run(["backup", "drill", path, "--json"]);
  assert.equal(run.code, 0, run.all);
  const answer = JSON.parse(run.stdout) as Record<string, unknown> & { phases: Record<string, number> };
  assert.equal(answer.daemon, "started and answered");
  assert.deepEqual(Object.keys(answer.phases), ["decrypt", "check", "place", "start"]);
  assert.equal(answer.opened, answer.versions);
  assert.ok(Number(answer.totalMs) > 0 && Number(answer.ageMs) >= 0);
  assert.deepEqual(readdirSync(place.data), before);
  const words = await place.run(["backup", "drill", path]);
  assert.match(words.stdout, /recovery time .*\(decrypt .*\n.*backup age/);
  const bytes = readFileSync(path);
  writeFileSync(join(place.dir, "cut"), bytes.subarray(0, 50_000));
  const cut = await place.run(["backup", "drill", join(place.dir, "cut")]);
  assert.equal(cut.code, 1);
  assert.match(cut.stderr, /truncated/);
  assert.deepEqual(readdirSync(place.data), before);
});
