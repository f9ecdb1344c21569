import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";

const REPOSITORY_ROOT = join(import.meta.dirname, "..", "..");

/** Where the third-party protocol cases lie: $SIDEKEY_CORPORA, else ../shared/corpora beside the checkout. */
export function corporaDir(): string {
  return process.env.SIDEKEY_CORPORA ?? join(REPOSITORY_ROOT, "..", "shared", "corpora");
}

/**
 * Parses the JSON corpus `file`; null when the folder or file is absent.
 * @throws SyntaxError when the file is there but is not JSON.
 */
export function loadCorpus(file: string): unknown {
  const path = join(corporaDir(), file);
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : null;
}

/**
 * Like `loadCorpus`, but skips the test when the corpus is absent. That is a skip even under SIDEKEY_TEST_REQUIRE=all:
 * the cases belong to others and are not part of the repository, so no installation step can bring them.
 */
export function corpusOrSkip(t: Pick<TestContext, "skip">, file: string): unknown {
  const corpus = loadCorpus(file);
  if (corpus === null) t.skip(`no ${file} in ${corporaDir()}; set SIDEKEY_CORPORA to the folder that has it`);
  return corpus;
}
