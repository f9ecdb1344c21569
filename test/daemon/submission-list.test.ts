import assert from "node:assert/strict";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { PolicyFileError } from "../../src/daemon/policy-file.ts";
import { readSubmissionList } from "../../src/daemon/submission-list.ts";
import { PolicyError } from "../../src/policy/problem.ts";
import { tempDir } from "../support/temp-dir.ts";

function listFile(t: TestContext, text: string): { dir: string; path: string } {
  const dir = tempDir(t);
  const path = join(dir, "credentials.yaml");
  writeFileSync(path, text);
  return { dir, path };
}

test("entries name a file beside the list, an absolute one, or hold the text themselves", (t) => {
  const { dir, path } = listFile(
    t,
    `version: 1
submissions:
  - file: ./sealed/one.sealed
  - { file: /absent/two.sealed, as: pending }
  - sealed: |
      -----BEGIN
      text
`,
  );
  mkdirSync(join(dir, "sealed"));
  writeFileSync(join(dir, "sealed", "one.sealed"), "the text of one");
  const [one, two, three] = readSubmissionList(path);
  assert.deepEqual([one?.source, one?.as, one?.read()], ["./sealed/one.sealed", "current", "the text of one"]);
  assert.deepEqual([two?.file, two?.as], ["/absent/two.sealed", "pending"]);
  assert.throws(() => two?.read(), PolicyFileError);
  assert.deepEqual([three?.source, three?.file, three?.read()], ["submissions[2]", null, "-----BEGIN\ntext\n"]);
  assert.deepEqual(readSubmissionList(listFile(t, "version: 1\n").path), []);
});

test("what is wrong is told with file, line and path", (t) => {
  const cases: readonly [string, RegExp][] = [
    ["", /^credentials\.yaml:1/],
    ["submissions: []\n", /version/],
    ["version: 2\n", /^credentials\.yaml:1 version/],
    ["version: 1\nsubmission: []\n", /submission/],
    ["version: 1\nsubmissions:\n  - { as: current }\n", /:3 submissions\[0\]: names a file or holds the sealed text/],
    ["version: 1\nsubmissions:\n  - { file: a, sealed: b }\n", /submissions\[0\]: names a file or holds/],
    ["version: 1\nsubmissions:\n  - { file: a, as: soon }\n", /:3 submissions\[0\]\.as/],
    ["version: 1\nsubmissions: &x []\n", /anchor &x is not accepted/],
    ["version: 1\nversion: 1\n", /duplicate key/],
  ];
  for (const [text, words] of cases) {
    assert.throws(
      () => readSubmissionList(listFile(t, text).path),
      (error) => {
        assert.ok(error instanceof PolicyError, String(error));
        assert.match(error.message, words);
        return true;
      },
      text,
    );
  }
});

test("a list or a submission that everybody may write is not read", (t) => {
  const { dir, path } = listFile(t, "version: 1\nsubmissions: [ { file: ./a } ]\n");
  writeFileSync(join(dir, "a"), "text");
  chmodSync(join(dir, "a"), 0o666);
  const [entry] = readSubmissionList(path);
  assert.throws(() => entry?.read(), /can be changed by every user/);
  chmodSync(path, 0o666);
  assert.throws(() => readSubmissionList(path), /can be changed by every user/);
});
