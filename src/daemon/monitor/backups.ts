import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import {
  authenticateBackup,
  backupName,
  listOwnBackups,
  type OwnBackup,
  pruneBackups,
} from "../../store/backup-retention.ts";
import { configFiles } from "../../store/backup-snapshot.ts";
import { createBackup } from "../../store/backup-write.ts";
import type { Vault } from "../../store/vault.ts";
import { wrapperWarnings } from "../../store/wrappers.ts";
import type { Config } from "../config.ts";
import type { BackupConfig } from "../config-backup.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { Alerts } from "./alerts.ts";

export interface BackupsOptions {
  readonly vault: Vault;
  readonly config: Pick<Config, "dataDir" | "configDir">;
  readonly schedule: BackupConfig;
  readonly alerts: Alerts;
  readonly log: Pick<Log, "info" | "error">;
  readonly metrics: Pick<Metrics, "observe">;
  readonly version: string;
  /** ms since the epoch */
  readonly now: () => number;
}

export interface Backups {
  /** Makes a backup if one is due; what the timer calls. Never throws. */
  check(): Promise<void>;
  /** When the newest good backup was made, in ms since the epoch; null when there is none. */
  lastSuccessAt(): number | null;
  /** Gives up a backup that is being made, and cleans up after it. */
  close(): Promise<void>;
}

/** How often it is looked whether a backup is due. */
const CHECK_MS = 60_000;
/** Pause after a failure. */
const RETRY_MS = 10 * 60_000;
const FAILED = "backup_failed";
const ONE_WRAPPER = "backup_wrappers";
const OBJECT = "backup";

/**
 * Makes backups as daemon.yaml says, from the newest good one in the directory onwards. Each is read again to its last
 * byte before older ones are deleted, and only those that this vault's own key authenticates are ever deleted.
 */
export function startBackups(options: BackupsOptions): Backups {
  const backups = new ScheduledBackups(options);
  options.metrics.observe({
    lastBackupSeconds: () => {
      const at = backups.lastSuccessAt();
      return at === null ? undefined : at / 1000;
    },
  });
  return backups;
}

class ScheduledBackups implements Backups {
  readonly #options: BackupsOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #stop = new AbortController();
  /** undefined until the directory has been looked at */
  #lastAt: number | null | undefined;
  #retryAt = 0;
  #running: Promise<void> | null = null;

  constructor(options: BackupsOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.check(), CHECK_MS).unref();
    setImmediate(() => void this.check()).unref();
  }

  lastSuccessAt(): number | null {
    return this.#lastAt ?? null;
  }

  check(): Promise<void> {
    this.#running ??= this.#attempt().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#stop.abort();
    await this.#running;
  }

  async #attempt(): Promise<void> {
    const { vault, schedule, alerts, log, now } = this.#options;
    // Sealed, it has no key to make one with; that it is sealed is told elsewhere, and nothing changes meanwhile.
    if (this.#stop.signal.aborted || vault.sealed || now() < this.#retryAt) return;
    try {
      if (this.#lastAt === undefined) this.#lastAt = (await this.#list())[0]?.createdAt ?? null;
      // A backup from the future says that the clock was put back: it must not keep the next one away.
      if (this.#lastAt !== null && now() < this.#lastAt + schedule.everyMs && this.#lastAt <= now()) return;
      await this.#backUp();
      alerts.clear(FAILED, OBJECT);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      this.#retryAt = now() + RETRY_MS;
      const problem = describe(error);
      log.error("backup", { problem });
      alerts.raise(FAILED, OBJECT, "critical", `no backup was made in ${schedule.to}: ${problem}`);
    }
  }

  async #list(): Promise<OwnBackup[]> {
    const { vault, schedule } = this.#options;
    return await listOwnBackups(schedule.to, vault);
  }

  async #backUp(): Promise<void> {
    const { vault, config, schedule, alerts, log, version, now } = this.#options;
    mkdirSync(schedule.to, { recursive: true, mode: 0o700 });
    const to = join(schedule.to, backupName(vault.id, now()));
    const summary = await createBackup(vault, {
      directory: config.dataDir,
      to,
      usage: schedule.with.includes("usage"),
      extra: schedule.with.includes("config") ? configFiles(config.configDir) : [],
      actor: "sidekey",
      version,
      now,
      signal: this.#stop.signal,
    });
    await this.#readAgain(to);
    this.#lastAt = summary.createdAt;
    const removed = pruneBackups(await this.#list(), schedule.keep);
    log.info("backup", { path: to, bytes: summary.bytes, seq: summary.audit.seq, removed: removed.length });
    const [warning] = wrapperWarnings(summary.wrappers);
    if (warning === undefined) alerts.clear(ONE_WRAPPER, OBJECT);
    else alerts.raise(ONE_WRAPPER, OBJECT, "warning", warning);
  }

  /** What the disk does not give back must not count, nor push out an older one that is good. */
  async #readAgain(path: string): Promise<void> {
    try {
      await authenticateBackup(path, this.#options.vault);
    } catch (error) {
      rmSync(path, { force: true });
      throw error;
    }
  }
}

/** Errors of the store are written for people and name no secret; of any other only the kind is told (threats E3). */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return "failed";
  const code = "code" in error && typeof error.code === "string" ? error.code : null;
  const own = /^(?:BackupError|DatabaseError|VaultSealedError|VaultTamperedError|VaultError)$/.test(error.name);
  return own ? error.message : `${error.name}${code === null ? "" : ` (${code})`}`;
}
