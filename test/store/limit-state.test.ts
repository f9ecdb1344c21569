import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { loadLimitState, startLimitStateSaver } from "../../src/store/limit-state.ts";
import { startUsageWriter } from "../../src/store/usage.ts";
import type { LimitStateRow } from "../../src/store/usage-record.ts";
import { tempDir } from "../support/temp-dir.ts";

test("without usage.db there is no state, and no file is made", (t) => {
  const path = join(tempDir(t), "usage.db");
  assert.deepEqual(loadLimitState(path), []);
  assert.ok(!existsSync(path));
});

test("limit state is saved through the writer while it changes, and once more on close", async (t) => {
  const path = join(tempDir(t), "usage.db");
  const writer = startUsageWriter(path);
  t.after(() => writer.close());
  let changes: LimitStateRow[] | null = [
    { key: "a", state: "1" },
    { key: "b", state: "2" },
  ];
  const take = (): LimitStateRow[] | null => {
    const taken = changes;
    changes = null;
    return taken;
  };
  const saver = startLimitStateSaver(writer, take, 5);
  for (let n = 0; n < 200 && changes !== null; n++) await new Promise((resolve) => setTimeout(resolve, 5));
  await writer.flush();
  assert.equal(loadLimitState(path).length, 2);
  changes = [{ key: "b", state: "3" }];
  saver.close();
  await writer.close();
  assert.deepEqual(loadLimitState(path), [{ key: "b", state: "3" }]);
});
