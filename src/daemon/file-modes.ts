import { lstatSync, readdirSync, type Stats, statSync } from "node:fs";
import { join } from "node:path";
import { assertPrivate, DatabaseError } from "../store/database.ts";
import type { Config } from "./config.ts";

/** A file or directory that others could read or change, with the command that repairs it. */
export interface FileProblem {
  readonly severity: "refuse" | "warn";
  readonly message: string;
}

const OTHERS_WRITE = 0o002;
/** Sockets and subdirectories in the data directory have checks of their own. */
const OURS = /^(?:vault|usage|monitor)\.db(?:-wal|-shm)?$|^audit\.anchor$/;

/**
 * Owners and modes of what the daemon is about to trust. Data belongs to this user alone and holds no symbolic link;
 * configuration may be a link (orchestrators mount it so) but nobody else may change it.
 */
export function fileProblems(
  config: Pick<Config, "dataDir" | "file" | "policyFile" | "providersDir" | "pricesFile">,
): FileProblem[] {
  return [...dataProblems(config.dataDir), ...configPaths(config).flatMap(configProblems)];
}

function dataProblems(dataDir: string): FileProblem[] {
  const stat = statSync(dataDir, { throwIfNoEntry: false });
  if (stat === undefined) return [];
  const files = stat.isDirectory() ? readdirSync(dataDir).filter((name) => OURS.test(name)) : [];
  return [
    ...privateProblems(stat, dataDir, "700"),
    ...files.flatMap((name) => {
      const path = join(dataDir, name);
      const found = lstatSync(path, { throwIfNoEntry: false });
      // SQLite removes its side files when the last connection closes.
      if (found === undefined) return [];
      if (!found.isFile()) return [refuse(`${path} is not a regular file; put the file itself there`)];
      return privateProblems(found, path, "600");
    }),
  ];
}

function privateProblems(stat: Stats, path: string, mode: "600" | "700"): FileProblem[] {
  try {
    assertPrivate(stat, path, mode);
    return [];
  } catch (error) {
    if (error instanceof DatabaseError) return [refuse(error.message)];
    throw error;
  }
}

function configPaths({
  file,
  policyFile,
  providersDir,
  pricesFile,
}: Pick<Config, "file" | "policyFile" | "providersDir" | "pricesFile">): string[] {
  const isDirectory = statSync(providersDir, { throwIfNoEntry: false })?.isDirectory() === true;
  const providers = isDirectory ? readdirSync(providersDir).map((name) => join(providersDir, name)) : [];
  return [...(file === null ? [] : [file]), policyFile, pricesFile, providersDir, ...providers];
}

/** Who can change these decides where keys go, and what calls are taken to cost. */
function configProblems(path: string): FileProblem[] {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return [];
  if ((stat.mode & OTHERS_WRITE) !== 0) {
    return [refuse(`${path} can be changed by every user of this machine; run: chmod o-w ${path}`)];
  }
  const us = process.geteuid?.() ?? stat.uid;
  if (stat.uid === us || stat.uid === 0) return [];
  const message = `${path} belongs to user ${stat.uid}, who can change where keys go; run: chown ${us} ${path}`;
  return [{ severity: "warn", message }];
}

function refuse(message: string): FileProblem {
  return { severity: "refuse", message };
}
