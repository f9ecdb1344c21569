import { type FSWatcher, readdirSync, statSync, watch } from "node:fs";
import { dirname, join } from "node:path";

/** Network file systems send no events, so files are looked at as well. */
const POLL_MS = 1000;
/** A change must have been quiet for this long: an editor that is half-way through must not be believed. */
const SETTLE_MS = 100;

export interface FileWatchOptions {
  readonly file: string;
  /** Its `*.yaml` files are watched too. */
  readonly directory?: string;
  /** Further files, as the watched one names them now; they are looked at with each poll. */
  readonly also?: () => readonly string[];
  readonly onChange: () => void;
  readonly pollMs?: number;
  readonly settleMs?: number;
}

export interface FileWatch {
  close(): void;
}

/** Calls `onChange` once after each settled change of the file, of a YAML file in the directory or of a further file. */
export function watchFiles(options: FileWatchOptions): FileWatch {
  const { file, directory = null, also = () => [], onChange, pollMs = POLL_MS, settleMs = SETTLE_MS } = options;
  const signature = (): string =>
    [file, ...also(), ...(directory === null ? [] : yamlFiles(directory))].map(stamp).join("\n");
  let believed = signature();
  let noticed = believed;
  let settling: NodeJS.Timeout | null = null;

  const look = (): void => {
    const now = signature();
    if (now === believed && settling === null) return;
    if (now === noticed && settling !== null) return;
    noticed = now;
    if (settling !== null) clearTimeout(settling);
    settling = setTimeout(settle, settleMs).unref();
  };
  const settle = (): void => {
    settling = null;
    const now = signature();
    if (now !== noticed) {
      look();
    } else if (now !== believed) {
      believed = now;
      onChange();
    }
  };

  const poll = setInterval(look, pollMs).unref();
  const watchers = [...new Set([dirname(file), directory ?? dirname(file)])].flatMap((path) => watcherFor(path, look));
  return {
    close() {
      clearInterval(poll);
      if (settling !== null) clearTimeout(settling);
      for (const watcher of watchers) watcher.close();
    },
  };
}

/** Events only make it faster; where they are not available (limits, odd file systems) the poll is enough. */
function watcherFor(path: string, look: () => void): FSWatcher[] {
  try {
    const watcher = watch(path, { persistent: false }, look);
    watcher.on("error", () => watcher.close());
    return [watcher];
  } catch {
    return [];
  }
}

function yamlFiles(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter((name) => name.endsWith(".yaml"))
      .sort()
      .map((name) => join(directory, name));
  } catch {
    return [];
  }
}

/** Changes whenever the file does: name, inode, size, and both times in nanoseconds. */
function stamp(path: string): string {
  try {
    const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
    if (stat !== undefined) return `${path} ${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
  } catch {
    // Not to be looked at: whoever reads it says why, and a watch must not end the daemon.
  }
  return `${path} -`;
}
