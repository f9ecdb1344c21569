import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { initializedPlace } from "../../support/cli-process.ts";

const BAIT = "CANARYbait0123456789abcdefABCDEF";
const ADD = ["credential", "add", "fmp", "--name", "bait", "--stdin"];

describe("sidekey credential add --honeytoken", () => {
  test("stores a bait without asking its provider; list and show mark it, and nothing checks or rotates it", async (t) => {
    const { run, data } = await initializedPlace(t);
    const added = await run([...ADD, "--honeytoken"], { input: `${BAIT}\n` });
    assert.equal(added.code, 0, added.all);
    assert.match(
      added.stdout,
      /^stored bait version 1 \(current\), fingerprint [0-9a-f]{12}\n {2}fmp live, a honeytoken, never sent$/m,
    );
    // The provider is cut off here: a check would have said that it got no answer.
    assert.doesNotMatch(added.stderr, /checked|unchecked/);
    const outputs = [added, await run(["credential", "list"]), await run(["credential", "show", "bait"])];
    assert.match(outputs[1]?.stdout ?? "", /^bait +fmp +live +service +honeytoken /m);
    assert.match(outputs[2]?.stdout ?? "", /^state +honeytoken$/m);
    const json = await run(["credential", "show", "bait", "--json"]);
    assert.equal(JSON.parse(json.stdout).metadata.honeytoken, "true");
    const validated = await run(["credential", "validate", "bait"]);
    const rotated = await run(["credential", "rotate", "bait", "--stdin", "--no-validate"], {
      input: `${BAIT.replace("CANARY", "CANARz")}\n`,
    });
    assert.match(validated.stderr, /is a honeytoken, which is never opened/);
    assert.match(rotated.stderr, /is a honeytoken, which is never rotated/);
    assert.deepEqual([validated.code, rotated.code], [1, 1]);
    for (const output of [...outputs, json, validated, rotated]) assert.ok(!output.all.includes(BAIT));
    for (const name of readdirSync(data)) assert.ok(!readFileSync(join(data, name)).includes(BAIT), name);
  });

  test("only a new credential can be made one", async (t) => {
    const { run } = await initializedPlace(t);
    for (const other of ["--replace", "--pending"]) {
      const refused = await run([...ADD, "--honeytoken", other], { input: `${BAIT}\n` });
      assert.equal(refused.code, 2, refused.all);
      assert.match(refused.stderr, /only a new credential can be made a honeytoken/);
    }
  });
});
