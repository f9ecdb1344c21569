import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { corpusOrSkip, loadCorpus } from "./corpus.ts";
import { tempDir } from "./temp-dir.ts";

test("a corpus is read from SIDEKEY_CORPORA, and an absent one is null and skips", (t) => {
  const before = process.env.SIDEKEY_CORPORA;
  t.after(() => {
    if (before === undefined) delete process.env.SIDEKEY_CORPORA;
    else process.env.SIDEKEY_CORPORA = before;
  });
  const dir = tempDir(t);
  process.env.SIDEKEY_CORPORA = dir;
  writeFileSync(join(dir, "cases.json"), '[{"id":1}]');
  const skipped: (string | undefined)[] = [];
  assert.deepEqual(loadCorpus("cases.json"), [{ id: 1 }]);
  assert.equal(loadCorpus("absent.json"), null);
  assert.equal(corpusOrSkip({ skip: (why) => skipped.push(why) }, "absent.json"), null);
  assert.match(skipped[0] ?? "", /absent\.json.*SIDEKEY_CORPORA/);
});
