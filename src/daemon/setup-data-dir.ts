import { chmodSync, mkdirSync, readdirSync, type Stats, statSync } from "node:fs";
import { join } from "node:path";

/** A directory that setup will not touch, and what to do about it. */
export class SetupError extends Error {
  override readonly name = "SetupError";
  readonly nextStep: string;

  constructor(message: string, nextStep: string) {
    super(message);
    this.nextStep = nextStep;
  }
}

const PRIVATE_MODE = 0o700;
const OTHERS = 0o077;
const MAX_SOCKET_PATH_BYTES = 107;
/** Any one of these says that the directory is ours; a vault that was being made counts too. */
const OUR_FILES = /^(?:vault\.db|root\.key$|usage\.db|audit\.anchor)/;
/** Found in directories that are empty to their owner: a mounted volume, a placeholder for git. */
const NOTHING: ReadonlySet<string> = new Set(["lost+found", ".gitkeep", ".gitignore", ".keep"]);

/**
 * Makes the data directory with mode 0700, or checks the one that is there.
 * @returns notes on what was done
 * @throws SetupError when it belongs to somebody else, is open to others or holds other things
 */
export function prepareDataDir(dir: string): string[] {
  assertSocketFits(dir);
  const stat = statOrNull(dir);
  if (stat === null) {
    mkdirSync(dir, { recursive: true, mode: PRIVATE_MODE });
    chmodSync(dir, PRIVATE_MODE);
    return [];
  }
  if (!stat.isDirectory()) throw new SetupError(`${dir} is not a directory`, "name another one with --data");
  const uid = process.getuid?.() ?? stat.uid;
  if (stat.uid !== uid) {
    throw new SetupError(`${dir} belongs to user ${stat.uid}, and this is user ${uid}`, `chown -R ${uid} ${dir}`);
  }
  const entries = readdirSync(dir).filter((name) => !NOTHING.has(name));
  if (entries.length > 0 && !entries.some((name) => OUR_FILES.test(name))) {
    throw new SetupError(
      `${dir} holds other things and no sidekey vault`,
      "name an empty or a new directory with --data",
    );
  }
  if ((stat.mode & OTHERS) === 0) return [];
  // Nothing in it could have been read yet, so tightening it is enough.
  if (entries.length === 0) {
    chmodSync(dir, PRIVATE_MODE);
    return [`set the mode of ${dir} to 0700`];
  }
  throw new SetupError(`${dir} is open to other users (mode 0${(stat.mode & 0o777).toString(8)})`, `chmod 700 ${dir}`);
}

/** @throws SetupError when the control socket's path would be longer than the system allows (sun_path, unix(7)) */
export function assertSocketFits(dir: string, nextStep = "name a shorter one with --data"): void {
  const length = Buffer.byteLength(join(dir, "daemon.sock"));
  if (length <= MAX_SOCKET_PATH_BYTES) return;
  throw new SetupError(
    `${dir} is too long a path: daemon.sock in it has ${length} bytes, at most ${MAX_SOCKET_PATH_BYTES} are possible`,
    nextStep,
  );
}

function statOrNull(dir: string): Stats | null {
  return statSync(dir, { throwIfNoEntry: false }) ?? null;
}
