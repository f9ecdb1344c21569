import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../daemon/config.ts";
import { assertSocketFits } from "../daemon/setup-data-dir.ts";
import { type Restored, restoreBackup } from "../store/backup-restore.ts";
import { halfMadeName, removeHalfMade, sweepHalfMade } from "../store/half-made.ts";
import type { Unlocker } from "../store/wrappers.ts";
import { type OpenOptions, temporaryPlace, withBackup } from "./backup-source.ts";
import type { Cli } from "./cli.ts";
import { createDaemonClient } from "./daemon-client.ts";
import { CliError } from "./failure.ts";
import { formatSpan, formatTime, renderFacts } from "./output.ts";

export interface DrillOptions extends OpenOptions {
  readonly temp?: string;
  readonly json?: boolean;
}

/**
 * Restores a backup as if everything else were lost, opens every value, starts a daemon over it that contacts nobody,
 * and says how long each step took (the recovery time) and how old the backup is (what would be lost).
 */
export async function drill(cli: Cli, file: string, options: DrillOptions): Promise<void> {
  const place = temporaryPlace(cli, options.temp);
  sweepHalfMade(place);
  const work = halfMadeName(join(place, ".drill"));
  const dataDir = join(work, "data");
  assertSocketFits(dataDir, "name a shorter place with --temp");
  const begun = performance.now();
  try {
    mkdirSync(work, { mode: 0o700 });
    const result = await withBackup(cli, file, options, async ({ backup, opened, unlockers }) => {
      const restored = await restoreBackup(backup, opened, {
        directory: dataDir,
        replace: false,
        sample: "all",
        actor: cli.actor,
        now: cli.now,
        assertIdle: async () => {},
      });
      const daemon = await startAndStop(cli, dataDir, unlockers);
      return { restored, daemon, opening: backup.opening };
    });
    const { restored, daemon, opening } = result;
    const total = Math.round(performance.now() - begun);
    const phases = phasesOf(restored, daemon.startMs);
    const age = Math.max(0, cli.now() - opening.createdAt);
    const { vault, createdAt } = opening;
    const facts = {
      ok: true,
      vault,
      createdAt,
      ageMs: age,
      totalMs: total,
      phases,
      daemon: daemon.state,
      ...restored.check,
    };
    if (options.json === true) return cli.terminal.json(facts);
    const { opened, versions, closed } = restored.check;
    cli.terminal.status("ok", `${file} restores, opens and starts`);
    cli.terminal.out(
      renderFacts([
        ["vault", vault],
        [
          "recovery time",
          `${seconds(total)} (${Object.entries(phases)
            .map(([name, ms]) => `${name} ${seconds(ms)}`)
            .join(", ")})`,
        ],
        ["backup age", `${formatSpan(age)}, made ${formatTime(createdAt)}: what came later would be lost`],
        ["values", `${opened} of ${versions} opened${closed === 0 ? "" : `, ${closed} closed on purpose`}`],
        ["audit", `${opening.audit.seq} entries, every link checked`],
        ["daemon", daemon.state],
      ]),
    );
  } finally {
    removeHalfMade(work);
  }
}

function phasesOf({ took }: Restored, startMs: number | null): Record<string, number> {
  const phases = {
    decrypt: took.extract,
    check: took.check,
    place: took.place,
    ...(startMs === null ? {} : { start: startMs }),
  };
  return Object.fromEntries(Object.entries(phases).map(([name, ms]) => [name, Math.round(ms)]));
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)}s`;
}

/** A daemon on free ports of loopback, over the restored data and this machine's policy. */
async function startAndStop(
  cli: Cli,
  dataDir: string,
  unlockers: readonly Unlocker[],
): Promise<{ state: string; startMs: number | null }> {
  const config = configFor(cli, dataDir);
  if (config === null) return { state: "not started: there is no policy.yaml here nor in the backup", startMs: null };
  const from = performance.now();
  const { startDaemon } = await import("../daemon/daemon.ts");
  const daemon = await startDaemon({ config, version: cli.version, unlockers, writeLog: () => {}, drill: true });
  try {
    const { sealed } = await createDaemonClient(dataDir).status();
    if (sealed) throw new CliError("the daemon over the restored vault stays sealed");
    return { state: "started and answered", startMs: performance.now() - from };
  } finally {
    daemon.kill();
    await daemon.stop();
  }
}

/** This machine's configuration, else the backup's own, without a way to anybody else. Null when neither has a policy. */
function configFor(cli: Cli, dataDir: string): Config | null {
  const { policyFile, providersDir, ...own } = cli.config();
  const restored = join(dataDir, "restored-config");
  const policy = [policyFile, join(restored, "policy.yaml")].find(existsSync);
  const shipped = join(cli.packageRoot, "config", "providers");
  const providers = [providersDir, join(restored, "providers"), shipped].find(existsSync);
  if (policy === undefined || providers === undefined) return null;
  const free = { host: "127.0.0.1", port: 0 };
  return {
    ...own,
    dataDir,
    policyFile: policy,
    providersDir: providers,
    listen: { proxy: free, proxySocket: null, admin: null, metrics: free },
    upstream: { hosts: new Map(), proxy: null },
    backup: undefined,
    demo: false,
    drainMs: 0,
  };
}
