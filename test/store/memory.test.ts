import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { makeCanary } from "../support/canary.ts";
import { requires } from "../support/requirement.ts";
import { tempDir } from "../support/temp-dir.ts";

const OPENER = join(import.meta.dirname, "../support/vault-opener.ts");
const CHUNK_BYTES = 16 * 1024 * 1024;

/** How often each needle occurs in the writable memory of a process; needles lie within one mapping. */
function countInMemory(pid: number, needles: readonly Buffer[]): number[] {
  const counts = needles.map(() => 0);
  const memory = openSync(`/proc/${pid}/mem`, "r");
  const chunk = Buffer.alloc(CHUNK_BYTES);
  for (const line of readFileSync(`/proc/${pid}/maps`, "utf8").split("\n")) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line);
    if (range === null) continue;
    const end = Number.parseInt(range[2] ?? "", 16);
    for (let at = Number.parseInt(range[1] ?? "", 16); at < end; at += CHUNK_BYTES) {
      const size = readOrNothing(memory, chunk, at, Math.min(CHUNK_BYTES, end - at));
      for (const [index, needle] of needles.entries()) {
        if (chunk.subarray(0, size).includes(needle)) counts[index] = (counts[index] ?? 0) + 1;
      }
    }
  }
  closeSync(memory);
  return counts;
}

function readOrNothing(fd: number, into: Buffer, at: number, length: number): number {
  try {
    return readSync(fd, into, 0, length, at);
  } catch {
    return 0; // some mappings of the kernel's own cannot be read
  }
}

function canReadMemory(pid: number): boolean {
  try {
    closeSync(openSync(`/proc/${pid}/mem`, "r"));
    return true;
  } catch {
    return false;
  }
}

describe("G2 no-string", () => {
  it("leaves no copy of an opened key, or of the key file's key, in the memory of an idle process", async (t) => {
    const directory = tempDir(t);
    const [canary, file, data] = [makeCanary(), join(directory, "key"), join(directory, "data")];
    writeFileSync(file, canary.bytes);
    const child = spawn(process.execPath, [OPENER, data, file], { stdio: ["ignore", "pipe", "inherit"] });
    t.after(() => child.kill("SIGKILL"));
    await once(child.stdout, "data");
    const pid = child.pid ?? 0;
    if (!(await requires(t, "permission to read /proc/<pid>/mem", () => canReadMemory(pid)))) return;
    const rootKey = Buffer.from(readFileSync(join(data, "root.key"), "latin1").split("\n")[1] ?? "", "base64");
    const halves = [
      canary.bytes.subarray(0, 24),
      canary.bytes.subarray(-24),
      rootKey.subarray(0, 16),
      rootKey.subarray(-16),
    ];
    // The path of the key file is certainly there: the scan itself works.
    const [path, ...found] = countInMemory(pid, [Buffer.from(file), ...halves]);
    assert.ok((path ?? 0) > 0);
    assert.deepEqual(found, [0, 0, 0, 0]);
  });
});
