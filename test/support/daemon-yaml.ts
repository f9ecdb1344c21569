import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { ConfigError, loadConfig } from "../../src/daemon/config.ts";
import { tempDir } from "./temp-dir.ts";

/** A project root, with this `config/daemon.yaml` if there is to be one; returns the root. */
export function projectWith(t: TestContext, yaml: string | null): string {
  const root = tempDir(t);
  mkdirSync(join(root, "config"));
  if (yaml !== null) writeFileSync(join(root, "config", "daemon.yaml"), yaml);
  return root;
}

/** What is wrong with the project's configuration, as its user reads it; fails when nothing is. */
export function problemsOf(root: string, env: Readonly<Record<string, string>> = {}): string {
  try {
    loadConfig({ env, cwd: root });
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.message;
  }
  return assert.fail("the file was accepted");
}
