import { existsSync, mkdirSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import { answers } from "../../daemon/control.ts";
import { assertSocketFits, prepareDataDir } from "../../daemon/setup-data-dir.ts";
import { type BackupCheck, SAMPLE, verifyBackup } from "../../store/backup-check.ts";
import { BackupError } from "../../store/backup-error.ts";
import { restoreBackup } from "../../store/backup-restore.ts";
import { backupName } from "../../store/backup-retention.ts";
import { configFiles } from "../../store/backup-snapshot.ts";
import { type BackupRequest, type BackupSummary, createBackup } from "../../store/backup-write.ts";
import type { Vault } from "../../store/vault.ts";
import { wrapperWarnings } from "../../store/wrappers.ts";
import { drill } from "../backup-drill.ts";
import { assertSameVault, type OpenOptions, temporaryPlace, withBackup } from "../backup-source.ts";
import type { Cli } from "../cli.ts";
import { daemonSocketPath } from "../daemon-client.ts";
import { CliError, EXIT, usageError } from "../failure.ts";
import { withVault } from "../open-vault.ts";
import { formatBytes, formatTime, renderBox, renderFacts } from "../output.ts";

/** `backup create|verify|restore|drill`. */
export function registerBackup(program: Command, cli: Cli): void {
  const backup = program.command("backup").description("encrypted copies of the vault: make, check, restore, rehearse");
  backup
    .command("create")
    .description("make a backup, with the daemon running or not")
    .option("--out <path>", "a new file, a directory, or - for stdout (default: the directory of `backup.to`)")
    .option("--with <parts>", "take along: usage, config (comma-separated)")
    .option("--json", "as JSON")
    .action((options: CreateOptions) => create(cli, options));
  openOptions(backup.command("verify <file>"))
    .description("read a backup (- for stdin) to its last byte, open it and check what is in it; exit 1 says why not")
    .option("--all", "decrypt every credential, not a sample")
    .option("--temp <dir>", "where its temporary copy goes (default: the data directory)")
    .action((file: string, options: VerifyOptions) => verify(cli, file, options));
  openOptions(backup.command("restore <file>"))
    .description("restore a backup (- for stdin) into an empty data directory")
    .option("--replace", "in the place of the vault that is there; its files are kept under another name")
    .option("--anchor <file>", "a copy of audit.anchor kept elsewhere: is the backup older than that?")
    .action((file: string, options: RestoreOptions) => restore(cli, file, options));
  openOptions(backup.command("drill <file>"))
    .description("rehearse a restore: into a temporary directory, start it, open every credential, take the time")
    .option("--temp <dir>", "where the temporary directory goes (default: the data directory)")
    .action((file: string, options: VerifyOptions) => drill(cli, file, options));
}

function openOptions(command: Command): Command {
  return command
    .option("--unlock-file <path>", "open it with this key file instead of what daemon.yaml says")
    .option("--passphrase", "open it with a passphrase, asked for without showing it")
    .option("--stdin", "read the passphrase from stdin")
    .option("--json", "as JSON");
}

interface CreateOptions {
  readonly out?: string;
  readonly with?: string;
  readonly json?: boolean;
}

interface VerifyOptions extends OpenOptions {
  readonly all?: boolean;
  readonly temp?: string;
  readonly json?: boolean;
}

interface RestoreOptions extends OpenOptions {
  readonly replace?: boolean;
  readonly anchor?: string;
  readonly json?: boolean;
}

async function create(cli: Cli, options: CreateOptions): Promise<void> {
  const parts = (options.with ?? "").split(",").filter((part) => part !== "");
  const unknown = parts.find((part) => part !== "usage" && part !== "config");
  if (unknown !== undefined) throw usageError("--with takes usage, config or both, with a comma between");
  if (options.out === "-" && options.json === true) throw usageError("--json needs stdout, and so does --out -");
  const { dataDir, configDir } = cli.config();
  const { summary, path } = await withVault(cli, async (vault) => {
    const { to, path } = target(cli, vault, options.out);
    const summary = await createBackup(vault, {
      directory: dataDir,
      to,
      usage: parts.includes("usage"),
      extra: parts.includes("config") ? configFiles(configDir) : [],
      actor: cli.actor,
      version: cli.version,
      now: cli.now,
    });
    return { summary, path };
  });
  report(cli, summary, path, options.json === true);
}

function target(cli: Cli, vault: Vault, out: string | undefined): { to: BackupRequest["to"]; path: string } {
  if (out === "-") {
    const write = cli.terminal.binary();
    if (write === null)
      throw usageError("stdout is a terminal", "send it somewhere: `sidekey backup create --out - > file`");
    return { to: { write, finish: async () => {}, discard: async () => {} }, path: "-" };
  }
  const name = backupName(vault.id, cli.now());
  if (out !== undefined) {
    const path = resolve(out);
    const place = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true ? join(path, name) : path;
    return { to: place, path: place };
  }
  const { backup, configDir } = cli.config();
  const directory = backup?.to ?? join(dirname(configDir), "backups");
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  return { to: join(directory, name), path: join(directory, name) };
}

function report(cli: Cli, summary: BackupSummary, path: string, json: boolean): void {
  const warnings = wrapperWarnings(summary.wrappers);
  const facts = renderFacts([
    ["backup", path === "-" ? "stdout" : path],
    ["size", formatBytes(summary.bytes)],
    ["vault", summary.vault],
    ["epoch", String(summary.epoch)],
    ["audit", `entry ${summary.audit.seq}, ${summary.audit.hash}`],
    ["holds", contentsOf(summary)],
    ["opens with", summary.wrappers.map(({ kind, id }) => `${kind} ${id}`).join(", ")],
  ]);
  if (json) cli.terminal.json({ path, ...summary, warnings });
  else if (path === "-") cli.terminal.note(facts);
  else cli.terminal.out(facts);
  if (warnings.length > 0) cli.terminal.note(renderBox("WARNING: this backup may be worth nothing one day", warnings));
  noteKeyFiles(cli, summary, path);
}

function contentsOf({ files }: BackupSummary): string {
  const config = files.filter(({ name }) => name.startsWith("config/")).length;
  const others = files.flatMap(({ name }) => (name.startsWith("config/") ? [] : [name]));
  return [...others, ...(config === 0 ? [] : [`${config} configuration files`])].join(", ");
}

function noteKeyFiles(cli: Cli, { wrappers }: BackupSummary, path: string): void {
  if (!wrappers.some(({ kind }) => kind === "file")) return;
  const keys = cli.config().unlock.flatMap((entry) => ("file" in entry && entry.file ? [entry.file] : []));
  if (keys.some((key) => path !== "-" && dirname(key) === dirname(path))) {
    cli.terminal.warn(`the key file lies in ${dirname(path)} too: who takes that directory can open the backup`);
  }
  cli.terminal.note("the root key file is not in it: keep a copy of that elsewhere, not beside the backups");
}

async function verify(cli: Cli, file: string, options: VerifyOptions): Promise<void> {
  const json = options.json === true;
  try {
    const result = await withBackup(cli, file, options, async ({ backup, opened }) => {
      assertSameVault(cli, backup);
      const sample = options.all === true ? "all" : SAMPLE;
      const place = temporaryPlace(cli, options.temp);
      const { manifest, check } = await verifyBackup(backup, opened, { place, sample });
      return { opening: backup.opening, by: opened.by, manifest, check };
    });
    const { opening, by, manifest, check } = result;
    const { vault, createdAt, epoch, audit } = opening;
    const facts = { vault, createdAt, epoch, audit, files: manifest.files, tables: manifest.tables };
    if (json) return cli.terminal.json({ ok: true, ...facts, openedBy: by, ...check });
    cli.terminal.status("ok", `${file} is whole and opens with ${by}`);
    cli.terminal.out(renderFacts([...factsOf(opening), ...checkFacts(check)]));
  } catch (error) {
    if (!json || !(error instanceof BackupError)) throw error;
    cli.terminal.json({ ok: false, reason: error.code, problem: error.message });
    cli.exit(EXIT.failed);
  }
}

function factsOf(opening: {
  vault: string;
  createdAt: number;
  epoch: number;
  audit: { seq: number };
}): [string, string][] {
  return [
    ["vault", opening.vault],
    ["made", formatTime(opening.createdAt)],
    ["epoch", String(opening.epoch)],
    ["audit", `${opening.audit.seq} entries, every link checked`],
  ];
}

function checkFacts(check: BackupCheck): [string, string][] {
  const values = `${check.opened} of ${check.versions} values opened`;
  const closed = check.closed === 0 ? "" : `, ${check.closed} closed on purpose`;
  return [["credentials", `${check.credentials}, ${values}${closed}`]];
}

async function restore(cli: Cli, file: string, options: RestoreOptions): Promise<void> {
  const { dataDir } = cli.config();
  assertSocketFits(dataDir);
  if (existsSync(dataDir)) prepareDataDir(dataDir);
  await assertIdle(dataDir);
  const { opening, restored } = await withBackup(cli, file, options, async ({ backup, opened }) => ({
    opening: backup.opening,
    restored: await restoreBackup(backup, opened, {
      directory: dataDir,
      replace: options.replace === true,
      anchor: options.anchor === undefined ? null : resolve(options.anchor),
      sample: SAMPLE,
      actor: cli.actor,
      now: cli.now,
      assertIdle: () => assertIdle(dataDir),
    }),
  }));
  const { kept, rollback, config, check, manifest } = restored;
  if (options.json === true) {
    const { vault, createdAt, epoch, audit } = opening;
    cli.terminal.json({
      dataDir,
      vault,
      createdAt,
      epoch,
      audit,
      files: manifest.files,
      kept,
      rollback,
      config,
      ...check,
    });
  } else {
    cli.terminal.status("ok", `restored into ${dataDir}`);
    cli.terminal.out(renderFacts([...factsOf(opening), ...checkFacts(check)]));
  }
  if (kept !== null) cli.terminal.note(`what was there before is in ${kept}`);
  if (config !== null) cli.terminal.note(`its configuration files are in ${config}; nothing uses them there`);
  if (options.unlockFile !== undefined) {
    cli.terminal.note(
      "the key file stays where it is: name it under `unlock:` in daemon.yaml, or put it where that looks",
    );
  }
  if (rollback === null) return;
  const text =
    "the backup is older than what this machine knew, so the vault stays sealed until somebody answers for it";
  cli.terminal.warn(`${text}: ${rollback}. Look at what was lost, then run \`sidekey vault acknowledge-rollback\``);
}

async function assertIdle(dataDir: string): Promise<void> {
  if (!(await answers(daemonSocketPath(dataDir)))) return;
  throw new CliError(`a daemon serves ${dataDir}; nothing was changed`, {
    nextStep: "stop it first, or restore into another directory with --data",
  });
}
