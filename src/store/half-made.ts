import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { randomBytes } from "./crypto.ts";

/*
 * Names of what is being built and is not valid yet: `<name>.<process id>-<random>.half`. What a killed process left
 * behind is known by its name, and the next run removes it.
 */
const HALF_MADE = /\.([0-9]{1,10})-[0-9a-f]{8}\.half$/;
const ours = new Set<string>();

/** A new temporary name beside `path`. Say `forgetHalfMade` once it is gone. */
export function halfMadeName(path: string): string {
  const name = `${path}.${process.pid}-${randomBytes(4).toString("hex")}.half`;
  ours.add(name);
  return name;
}

/** Removes what has the temporary name, if anything has. */
export function removeHalfMade(path: string): void {
  rmSync(path, { recursive: true, force: true });
  ours.delete(path);
}

/** Removes the files and directories in `directory` whose maker is dead. A missing directory has none. */
export function sweepHalfMade(directory: string): void {
  for (const name of namesIn(directory)) {
    const path = join(directory, name);
    const pid = HALF_MADE.exec(name)?.[1];
    // Our own number may have belonged to a process of an earlier boot, as in a container where it is always 1.
    if (pid === undefined || ours.has(path) || (Number(pid) !== process.pid && isAlive(Number(pid)))) continue;
    rmSync(path, { recursive: true, force: true });
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
