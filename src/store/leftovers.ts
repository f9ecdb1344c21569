import { readdirSync, statSync, unlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/** A temporary file this old belongs to a process that died while writing it. */
const STALE_MS = 60_000;
/** Anchors and key files before they get their name, vaults before they are whole. */
const TEMPORARY = /^(?:audit\.anchor\.\d+\.tmp|.+\.[0-9a-f]{8}\.tmp|.+\.[0-9a-f]{8}\.new(?:-journal|-wal|-shm)?)$/;

/**
 * Removes temporary files that a killed process left in a data directory. One of them can hold a root key: the second
 * name of a key file that was already in place.
 */
export function removeLeftovers(directory: string, nowMs: number): void {
  removeStale(directory, nowMs, (name) => TEMPORARY.test(name));
}

/** The same for one key file, wherever it lies; nothing else in its directory is ours. */
export function removeKeyLeftovers(path: string, nowMs: number): void {
  const [directory, name] = [dirname(path), basename(path)];
  removeStale(
    directory,
    nowMs,
    (each) => each.startsWith(`${name}.`) && /^[0-9a-f]{8}\.tmp$/.test(each.slice(name.length + 1)),
  );
}

function removeStale(directory: string, nowMs: number, ours: (name: string) => boolean): void {
  for (const name of list(directory).filter(ours)) {
    const path = join(directory, name);
    try {
      if (nowMs - statSync(path).mtimeMs > STALE_MS) unlinkSync(path);
    } catch {
      // Gone already: its writer has just moved it. Or it cannot be removed now; the next start tries again.
    }
  }
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    // Opening what lies in it says what is wrong with it.
    return [];
  }
}

/** Removes what a failed or finished step no longer needs; what cannot be removed now is a leftover. */
export function discard(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Usually it was moved or never made.
  }
}
