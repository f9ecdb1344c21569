import assert from "node:assert/strict";
import { test } from "node:test";
import { programRuns, requires } from "./requirement.ts";

function withMode<T>(mode: string | undefined, work: () => Promise<T>): Promise<T> {
  const before = process.env.SIDEKEY_TEST_REQUIRE;
  if (mode === undefined) delete process.env.SIDEKEY_TEST_REQUIRE;
  else process.env.SIDEKEY_TEST_REQUIRE = mode;
  return work().finally(() => {
    if (before === undefined) delete process.env.SIDEKEY_TEST_REQUIRE;
    else process.env.SIDEKEY_TEST_REQUIRE = before;
  });
}

test("what is there is not skipped", async () => {
  const skipped: (string | undefined)[] = [];
  const found = await requires({ skip: (why) => skipped.push(why) }, "this program", () => true);
  assert.equal(found, true);
  assert.deepEqual(skipped, []);
});

test("what is absent skips the test and says what is missing", async () => {
  const skipped: (string | undefined)[] = [];
  const found = await withMode(undefined, () => requires({ skip: (why) => skipped.push(why) }, "gadget", () => false));
  assert.equal(found, false);
  assert.deepEqual(skipped, ["gadget is not installed here"]);
});

test("under SIDEKEY_TEST_REQUIRE=all what is absent fails the test", async () => {
  await withMode("all", () =>
    assert.rejects(
      requires({ skip: () => {} }, "gadget", () => false),
      /gadget is missing/,
    ),
  );
});

test("a program is known by whether it runs", () => {
  assert.equal(programRuns(process.execPath), true);
  assert.equal(programRuns("no-such-program-here"), false);
  assert.equal(programRuns(process.execPath, ["-e", "process.exit(3)"]), false);
});
