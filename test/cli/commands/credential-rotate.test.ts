import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { type CliPlace, type CliRun, initializedPlace } from "../../support/cli-process.ts";

const OLD = "CANARYcanary0123456789abcdefABCD";
const NEW = "canaryCANARY9876543210fedcbaDCBA";

async function withCredential(t: TestContext): Promise<CliPlace> {
  const place = await initializedPlace(t);
  const added = await place.run(["credential", "add", "fmp", "--stdin"], { input: OLD });
  assert.equal(added.code, 0, added.all);
  return place;
}

function ok(result: CliRun): CliRun {
  assert.equal(result.code, 0, result.all);
  assert.ok(!result.all.includes(OLD) && !result.all.includes(NEW), "a key was printed");
  return result;
}

async function show(place: CliPlace): Promise<{
  versions: { stage: string }[];
  rotation: { phase: string; steps: number[]; stepMs: number; graceMs: number } | null;
  rotationDueAt: number | null;
}> {
  return JSON.parse(ok(await place.run(["credential", "show", "fmp-main", "--json"])).stdout);
}

describe("sidekey credential rotate", () => {
  test("stores the new key, says who would notice, and that a daemon has to run", async (t) => {
    const place = await withCredential(t);
    const rotate = [
      "credential",
      "rotate",
      "fmp-main",
      "--stdin",
      "--steps",
      "10,100",
      "--every",
      "5m",
      "--grace",
      "2h",
    ];
    const begun = ok(await place.run(rotate, { input: `${NEW}\n` }));
    assert.match(begun.stderr, /^fmp-main \(fmp live, enabled\): 1 current\n {2}used by route fmp\n {2}nobody used it/);
    assert.match(begun.stdout, /^stored fmp-main version 2 \(pending\), fingerprint [0-9a-f]{12}$/m);
    assert.match(begun.stdout, /10, 100 % of the clients, 5m each; the old version is revoked 2h after that$/m);
    assert.match(begun.stderr, /warning: no daemon runs here: the rotation goes on when it does/);
    const { rotation, versions } = await show(place);
    assert.equal(versions.map(({ stage }) => stage).join(" "), "current pending");
    assert.deepEqual(
      [rotation?.phase, rotation?.steps, rotation?.stepMs, rotation?.graceMs],
      ["testing", [10, 100], 300_000, 7_200_000],
    );
    const text = ok(await place.run(["credential", "show", "fmp-main"])).stdout;
    assert.match(text, /^rotation +testing, version 1 to 2, since /m);
    assert.match(ok(await place.run(["credential", "list"])).stdout, /ROTATION\n[\s\S]*fmp-main.* testing$/m);
    const again = await place.run(["credential", "rotate", "fmp-main", "--stdin"], { input: NEW });
    assert.equal(again.code, 2, again.all);
    assert.match(again.stderr, /is being rotated already \(testing\)\n {2}.*promote.*rollback.*--now/);
    const replaced = await place.run(["credential", "add", "fmp", "--replace", "--stdin"], { input: NEW });
    assert.equal(replaced.code, 1, replaced.all);
    for (const name of readdirSync(place.data)) assert.ok(!readFileSync(join(place.data, name)).includes(NEW), name);
  });

  test("can be promoted to its end, rolled back from there, and begun again", async (t) => {
    const place = await withCredential(t);
    const stages = async () => (await show(place)).versions.map(({ stage }) => stage).join(" ");
    ok(await place.run(["credential", "rotate", "fmp-main", "--stdin", "--no-validate"], { input: NEW }));
    assert.match(
      ok(await place.run(["credential", "show", "fmp-main"])).stdout,
      /^served by +5 % version 2\nnext step .*25 %/m,
    );
    const promoted = ok(await place.run(["credential", "promote", "fmp-main"]));
    assert.equal(promoted.stdout, "fmp-main version 2 is current\n");
    assert.match(promoted.stderr, /version 1 can be gone back to for 1d, then it is revoked/);
    assert.equal(await stages(), "previous current");
    assert.equal(ok(await place.run(["credential", "rollback", "fmp-main"])).stdout, "fmp-main version 1 is current\n");
    assert.equal(await stages(), "current pending");
    const nothing = await place.run(["credential", "rollback", "fmp-main"]);
    assert.equal(nothing.code, 4, nothing.all);
    assert.match(nothing.stderr, /no version to go back to/);
    ok(await place.run(["credential", "rotate", "fmp-main", "--stdin"], { input: NEW }));
    assert.equal(await stages(), "current pending pending");
  });

  test("--now switches and revokes in one command, and says what is left to do at the provider", async (t) => {
    const place = await withCredential(t);
    ok(await place.run(["credential", "rotate", "fmp-main", "--stdin"], { input: NEW.toLowerCase() }));
    const leaked = ok(await place.run(["credential", "rotate", "fmp-main", "--now", "--stdin"], { input: NEW }));
    assert.match(leaked.stdout, /^fmp-main version 3 is current, fingerprint [0-9a-f]{12}; version 1, 2 revoked\n$/);
    assert.match(leaked.stderr, /now revoke the old key at https:\/\//);
    const { versions, rotation } = await show(place);
    assert.equal(versions.map(({ stage }) => stage).join(" "), "revoked revoked current");
    assert.equal(rotation?.phase, "done");
    const audit = ok(await place.run(["audit", "list"])).stdout;
    assert.match(audit, /rotation\.at-once/);
  });

  test("refuses what makes no sense before it asks for a key, and changes nothing", async (t) => {
    const place = await withCredential(t);
    for (const [args, words, code] of [
      [["--steps", "5,25"], /--steps takes percentages that grow and end with 100/, 2],
      [["--steps", "50,5,100"], /--steps/, 2],
      [["--every", "soon"], /--every takes a span/, 2],
      [["--grace", "-1h"], /--grace takes a span/, 2],
      [["--grace", "999999d"], /at most 365 days/, 2],
      [["--now", "--grace", "1h"], /--now has no steps and no grace/, 2],
    ] as const) {
      const refused = await place.run(["credential", "rotate", "fmp-main", ...args, "--stdin"], { input: NEW });
      assert.equal(refused.code, code, refused.all);
      assert.match(refused.stderr, words);
    }
    assert.equal((await place.run(["credential", "rotate", "nobody", "--stdin"], { input: NEW })).code, 4);
    const empty = await place.run(["credential", "rotate", "fmp-main", "--stdin"], { input: "" });
    assert.equal(empty.code, 1, empty.all);
    ok(await place.run(["credential", "disable", "fmp-main"]));
    const disabled = await place.run(["credential", "rotate", "fmp-main", "--stdin"], { input: NEW });
    assert.match(disabled.stderr, /fmp-main is disabled\n {2}sidekey credential enable fmp-main/);
    const { versions, rotation } = await show(place);
    assert.deepEqual([versions.length, rotation], [1, null]);
  });

  test("a policy sets the age, the due date and the pace of the next rotation", async (t) => {
    const place = await withCredential(t);
    const policy = ["credential", "rotation", "fmp-main"];
    assert.match(ok(await place.run(policy)).stdout, /^greatest age +as its provider's file says\ndue +-\n/);
    const set = ok(
      await place.run([...policy, "--max-age", "90d", "--steps", "50,100", "--every", "1m", "--grace", "0"]),
    );
    assert.match(set.stdout, /^greatest age +90d$/m);
    assert.match(set.stdout, /^pace +50, 100 % of the clients, 1m each; the old version is revoked 0s after that$/m);
    const { rotationDueAt } = await show(place);
    assert.ok(Math.abs((rotationDueAt ?? 0) - Date.now() - 90 * 86_400_000) < 60_000);
    ok(await place.run(["credential", "rotate", "fmp-main", "--stdin"], { input: NEW }));
    const { rotation } = await show(place);
    assert.deepEqual([rotation?.steps, rotation?.stepMs, rotation?.graceMs], [[50, 100], 60_000, 0]);
    ok(await place.run([...policy, "--max-age", "none"]));
    assert.equal((await show(place)).rotationDueAt, null);
    const json = JSON.parse(ok(await place.run([...policy, "--json"])).stdout);
    assert.deepEqual([json.policy.maxAgeMs, json.policy.steps, json.dueAt], ["none", [50, 100], null]);
    for (const age of ["1h", "soon", "9999d"])
      assert.equal((await place.run([...policy, "--max-age", age])).code, 2, age);
  });
});
