import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type TestContext, test } from "node:test";
import { type CliPlace, initializedPlace } from "../../support/cli-process.ts";

const MAIN = resolve(import.meta.dirname, "../../../src/cli/main.ts");
const LINES_PER_SHARE = 7;

interface SplitRun {
  readonly code: number | null;
  readonly stderr: string;
  /** In words, as they were shown. */
  readonly shares: readonly string[];
}

/** Runs `vault shares split --stdin`; `answer` gets the shares that were shown and says what is typed back. */
function split(
  t: TestContext,
  place: CliPlace,
  set: readonly [threshold: number, count: number],
  answer: (shares: readonly string[]) => string,
): Promise<SplitRun> {
  const args = ["vault", "shares", "split", "--threshold", `${set[0]}`, "--count", `${set[1]}`, "--stdin"];
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: place.dir,
    env: { PATH: process.env.PATH, HOME: place.dir },
  });
  t.after(() => child.kill("SIGKILL"));
  let [stdout, stderr, answered] = ["", "", false];
  const shares = (): string[] => {
    const lines = stdout.split("\n").slice(0, -1);
    return Array.from({ length: set[1] }, (_, index) =>
      lines.slice(index * LINES_PER_SHARE, (index + 1) * LINES_PER_SHARE).join("\n"),
    );
  };
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk.toString();
    if (answered || stdout.split("\n").length <= set[1] * LINES_PER_SHARE) return;
    answered = true;
    child.stdin.end(answer(shares()));
  });
  child.stdin.on("error", () => undefined);
  return new Promise((done) => child.once("close", (code) => done({ code, stderr, shares: shares() })));
}

async function kinds({ run }: CliPlace): Promise<string[]> {
  const listed = JSON.parse((await run(["vault", "wrapper", "list", "--json"])).stdout) as { kind: string }[];
  return listed.map(({ kind }) => kind).sort();
}

test("shares are shown in words, become a wrapper once typed back, and then open the vault from files", async (t) => {
  const place = await initializedPlace(t);
  const { run, dir, config } = place;
  const done = await split(t, place, [2, 3], ([, two = "", three = ""]) => `${three.toUpperCase()}\n\n${two}`);
  assert.equal(done.code, 0, done.stderr);
  assert.match(done.stderr, /Share 1 of 3, set [0-9a-f]{8}; any 2 open the vault/);
  assert.match(done.stderr, /proven: set [0-9a-f]{8} opens the vault as wrapper/);
  assert.deepEqual(await kinds(place), ["file", "shares"]);
  const [one = "", two = "", three = ""] = done.shares;
  for (const [name, text] of Object.entries({ one, two, three })) writeFileSync(join(dir, name), text);

  const good = await run(["vault", "shares", "verify", "--file", "one", "three"]);
  assert.equal(good.code, 0, good.all);
  assert.match(good.stdout, /the shares open the vault: set [0-9a-f]{8}, 2 of 3 needed/);
  assert.equal((await run(["vault", "shares", "verify", "--stdin"], { input: `${two} ${one}` })).code, 0);

  const file = join(config, "daemon.yaml");
  const withoutUnlock = readFileSync(file, "utf8");
  writeFileSync(file, `${withoutUnlock}\nunlock: [ { shares: [one, three] } ]\n`);
  const status = JSON.parse((await run(["vault", "status", "--json"])).stdout) as { by: string };
  assert.equal(status.by, "shares");
  writeFileSync(file, `${withoutUnlock}\nunlock: [ { shares: prompt } ]\n`);
  const sealed = await run(["credential", "list"]);
  assert.equal(sealed.code, 3, sealed.all);
  assert.match(sealed.stderr, /no terminal to ask at/);
});

test("wrong shares are named and nothing changes; the old set dies only with the new one proven", async (t) => {
  const place = await initializedPlace(t);
  const { run } = place;
  const first = await split(t, place, [2, 2], (shares) => shares.join("\n"));
  assert.equal(first.code, 0, first.stderr);
  const old = first.shares.join("\n");
  const verify = (input: string) => run(["vault", "shares", "verify", "--stdin"], { input });
  const [one = "", two = ""] = first.shares;
  const cases: [string, RegExp][] = [
    [`${one} ${one}`, /share number 1 was given twice/],
    [`${one} ${two.replace(/^(\w+ )\w+/, "$1canary")}`, /share 2 of those given: word 2 is not in the list/],
  ];
  for (const [input, words] of cases) {
    const failed = await verify(input);
    assert.equal(failed.code, 1, failed.all);
    assert.match(failed.stderr, words);
    assert.doesNotMatch(failed.all, /canary/);
  }
  const refused = await split(t, place, [2, 3], ([only = ""]) => only);
  assert.equal(refused.code, 1, refused.stderr);
  assert.match(refused.stderr, /1 of 2 needed shares were given \(number 1\)/);
  assert.equal((await verify(old)).code, 0);
  const next = await split(t, place, [2, 3], (shares) => shares.slice(1).join("\n"));
  assert.equal(next.code, 0, next.stderr);
  assert.match(next.stderr, /the older shares no longer open it/);
  const dead = await verify(old);
  assert.equal(dead.code, 1, dead.all);
  assert.match(dead.stderr, /is of the set [0-9a-f]{8}, the vault's is/);
  assert.deepEqual(await kinds(place), ["file", "shares"]);
});

test("shares go to a file each, for their owner alone, and the files go away when they are not proven", async (t) => {
  const place = await initializedPlace(t);
  const { run, dir } = place;
  const args = ["vault", "shares", "split", "--threshold", "2", "--count", "3", "--out", "shares", "--stdin"];
  const failed = await run(args, { input: "" });
  assert.equal(failed.code, 1, failed.all);
  assert.deepEqual(readdirSync(join(dir, "shares")), []);
  assert.deepEqual(await kinds(place), ["file"]);

  const child = spawn(process.execPath, [MAIN, ...args], { cwd: dir, env: { PATH: process.env.PATH, HOME: dir } });
  t.after(() => child.kill("SIGKILL"));
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
    if (!stderr.includes("Nothing has changed yet")) return;
    const files = readdirSync(join(dir, "shares")).slice(0, 2);
    child.stdin.end(files.map((name) => readFileSync(join(dir, "shares", name), "utf8")).join(""));
  });
  const code = await new Promise((done) => child.once("close", done));
  assert.equal(code, 0, stderr);
  const files = readdirSync(join(dir, "shares"));
  assert.equal(files.length, 3);
  for (const name of files) {
    assert.match(name, /^sidekey-share-[0-9a-f]{8}-[123]-of-3\.txt$/);
    assert.equal(statSync(join(dir, "shares", name)).mode & 0o777, 0o600);
  }
  const verified = await run([
    "vault",
    "shares",
    "verify",
    "--file",
    ...files.slice(1).map((name) => join("shares", name)),
  ]);
  assert.equal(verified.code, 0, verified.all);
});

test("impossible sets, no terminal and no shares end with the documented exit codes", async (t) => {
  const { run, dir } = await initializedPlace(t);
  const cases: [string[], number, RegExp][] = [
    [["split", "--threshold", "1", "--count", "3", "--stdin"], 2, /at least 2 and at most the count/],
    [["split", "--threshold", "2", "--count", "256", "--stdin"], 2, /--count is not a whole number up to 255/],
    [["split", "--threshold", "2", "--count", "3"], 2, /no terminal to ask at/],
    [["verify", "--stdin"], 4, /this vault has no shares/],
  ];
  for (const [args, code, words] of cases) {
    const failed = await run(["vault", "shares", ...args]);
    assert.equal(failed.code, code, `${args.join(" ")}: ${failed.all}`);
    assert.match(failed.stderr, words);
  }
  assert.ok(!existsSync(join(dir, "shares")));
});
