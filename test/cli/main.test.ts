import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { cliPlace } from "../support/cli-process.ts";

describe("sidekey command line", () => {
  test("wrong usage is exit 2 with one line and the way to help; help and version are exit 0", async (t) => {
    const { run } = cliPlace(t);
    for (const args of [
      ["nonsense"],
      ["status", "--nonsense"],
      ["provider", "show"],
      ["run"],
      ["--data"],
      ["usage", "--by", "x"],
    ]) {
      const { code, stdout, stderr } = await run(args);
      assert.equal(code, 2, args.join(" "));
      assert.equal(stdout, "");
      assert.match(stderr, /^sidekey: .+\n {2}.+\n$/);
    }
    const bare = await run([]);
    assert.equal(bare.code, 2);
    assert.match(bare.stderr, /^Usage: sidekey /);
    const help = await run(["--help"]);
    assert.deepEqual([help.code, help.stderr], [0, ""]);
    const version = await run(["--version"]);
    assert.equal(version.code, 0);
    assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
  });

  test("without a vault or a daemon every command says what to run", async (t) => {
    const { run } = cliPlace(t);
    for (const args of [["credential", "list"], ["serve"], ["audit", "verify"], ["client", "add", "app"]]) {
      const { code, stderr } = await run(args);
      assert.equal(code, 1, args.join(" "));
      assert.match(stderr, /^sidekey: no vault in .*\/data\n {2}.*sidekey init/);
    }
    const status = await run(["status"]);
    assert.equal(status.code, 1);
    assert.match(status.stderr, /no daemon answers on .*daemon\.sock\n {2}start it with `sidekey up`/);
    assert.equal((await run(["policy", "reload"])).code, 1);
    assert.equal((await run(["requests", "--follow"])).code, 1);
    assert.equal((await run(["doctor"])).code, 1);
  });

  test("no output has a colour when it is no terminal, and no stack trace ever", async (t) => {
    const { run } = cliPlace(t);
    const { all } = await run(["--config", "missing", "credential", "list"]);
    assert.ok(!all.includes("\u001b"));
    assert.doesNotMatch(all, /\n\s+at /);
  });
});
