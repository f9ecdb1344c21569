import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

/** Makes a directory that is removed, with everything in it, when the test ends. Returns its absolute path. */
export function tempDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "sidekey-test-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}
