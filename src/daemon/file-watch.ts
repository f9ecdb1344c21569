import { type FSWatcher, readdirSync, statSync, watch } from "node:fs";
import { dirname, join } from "node:path";

/** Network file systems send no events, so files are looked at as well. */
const POLL_MS = 1000;
/** A change must have been quiet for this long: an editor that is half-way through must not be believed. */
const SETTLE_MS = 100;

export interface FileWatchOptions {
  readonly file: string;
  /** Its `*.yaml` files are watched too. */
  readonly directory: string;
  readonly onChange: () => void;
  readonly pollMs?: number;
  readonly settleMs?: number;
}

export interface FileWatch {
  close(): void;
}

/** Calls `onChange` once after each settled change of the file or of a YAML file in the directory. */
export function watchFiles(options: FileWatchOptions): FileWatch {
  const { file, directory, onChange, pollMs = POLL_MS, settleMs = SETTLE_MS } = options;
  let believed = signature(file, directory);
  let noticed = believed;
  let settling: NodeJS.Timeout | null = null;

  const look = (): void => {
    const now = signature(file, directory);
    if (now === believed && settling === null) return;
    if (now === noticed && settling !== null) return;
    noticed = now;
    if (settling !== null) clearTimeout(settling);
    settling = setTimeout(settle, settleMs).unref();
  };
  const settle = (): void => {
    settling = null;
    const now = signature(file, directory);
    if (now !== noticed) {
      look();
    } else if (now !== believed) {
      believed = now;
      onChange();
    }
  };

  const poll = setInterval(look, pollMs).unref();
  const watchers = [...new Set([dirname(file), directory])].flatMap((path) => watcherFor(path, look));
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

/** Changes whenever one of the files does: name, inode, size, and both times in nanoseconds. */
function signature(file: string, directory: string): string {
  return [file, ...yamlFiles(directory)].map(stamp).join("\n");
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

function stamp(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? `${path} -` : `${path} ${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
}
