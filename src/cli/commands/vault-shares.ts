import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import type { Secret } from "../../secret.ts";
import { VaultSealedError } from "../../store/errors.ts";
import { type PreparedShares, prepareShares, replaceShares } from "../../store/prepared-wrapper.ts";
import { openVault, type Vault } from "../../store/vault.ts";
import { type ShareSet, shareSetOf } from "../../store/wrappers/shares.ts";
import { type Unlocker, wrapperWarnings } from "../../store/wrappers.ts";
import type { Cli } from "../cli.ts";
import { CliError, EXIT, notFound, usageError } from "../failure.ts";
import { askOnce, configuredUnlockers, requireVault, withVault } from "../open-vault.ts";
import { promptShares, type ReadShares, readShareFiles, readShareInput } from "../share-input.ts";

interface SplitOptions {
  readonly threshold: string;
  readonly count: string;
  readonly out?: string;
  readonly stdin?: boolean;
}

interface VerifyOptions {
  readonly stdin?: boolean;
  readonly file?: string[];
}

const MOST_SHARES = 255;

/** `vault shares split|verify`. */
export function registerShares(vault: Command, cli: Cli): void {
  const shares = vault.command("shares").description("open the vault with some of several people's shares");
  shares
    .command("split")
    .description("make new shares; they replace older ones once they have been typed back")
    .requiredOption("--threshold <k>", "how many shares open the vault, 2 or more")
    .requiredOption("--count <n>", "how many shares are made")
    .option("--out <dir>", "write each share to a file of its own there, instead of showing them")
    .option("--stdin", "read the shares back from stdin instead of asking")
    .action((options: SplitOptions) => split(cli, options));
  shares
    .command("verify")
    .description("prove that enough good shares are at hand, without unsealing; names a bad one")
    .option("--stdin", "read them from stdin")
    .option("--file <path...>", "read them from files")
    .action((options: VerifyOptions) => verify(cli, options));
}

async function split(cli: Cli, options: SplitOptions): Promise<void> {
  const set = { threshold: wholeNumber(options.threshold, "threshold"), count: wholeNumber(options.count, "count") };
  if (set.threshold < 2 || set.threshold > set.count) {
    throw usageError("the threshold has to be at least 2 and at most the count", "such as --threshold 3 --count 5");
  }
  if (options.stdin !== true && !cli.prompter.interactive) {
    throw usageError("no terminal to ask at", "the new shares have to be typed back: say --stdin and give them there");
  }
  // The first opening unseals, the second gives the root key: nobody is asked twice.
  const unlockers = configuredUnlockers(cli).map(askOnce);
  await withVault(cli, (vault) => splitInto(cli, vault, { set, unlockers, options }), unlockers);
}

interface Split {
  readonly set: { readonly threshold: number; readonly count: number };
  readonly unlockers: readonly Unlocker[];
  readonly options: SplitOptions;
}

async function splitInto(cli: Cli, vault: Vault, { set, unlockers, options }: Split): Promise<void> {
  const made = await prepareShares(vault, unlockers, set, cli.now());
  const info = shareSetOf(made.wrapper.params);
  let files: string[] = [];
  try {
    if (options.out === undefined) await showShares(cli, made, info);
    else {
      files = writeShares(resolve(options.out), made, info);
      cli.terminal.note(`wrote ${files.length} shares of set ${info.set}:\n${files.join("\n")}`);
    }
    const asked = `give back ${set.threshold} of the new shares from what was written down`;
    cli.terminal.note(`Nothing has changed yet. Now ${asked}.`);
    const typed = options.stdin === true ? await readShareInput(cli) : await promptShares(cli, info, false);
    const { id, replaced } = await replaceShares(vault, made, typed, cli.actor);
    sayReplaced(cli, vault, { id, replaced, set: info.set });
  } catch (error) {
    // They open nothing.
    for (const file of files) rmSync(file, { force: true });
    throw error;
  } finally {
    for (const share of made.shares) share.wipe();
  }
}

function sayReplaced(cli: Cli, vault: Vault, done: { id: string; replaced: string[]; set: string }): void {
  const old = done.replaced.length === 0 ? "" : "; the older shares no longer open it";
  const next = "to be asked for them at start put `{ shares: prompt }` under `unlock:` in daemon.yaml";
  cli.terminal.note(`proven: set ${done.set} opens the vault as wrapper ${done.id}${old}; ${next}`);
  for (const warning of wrapperWarnings(vault.listWrappers())) cli.terminal.warn(warning);
}

function wholeNumber(text: string, name: string): number {
  const number = /^[1-9]\d{0,2}$/.test(text) ? Number(text) : Number.NaN;
  if (number <= MOST_SHARES) return number;
  throw usageError(`--${name} is not a whole number up to ${MOST_SHARES}`);
}

async function showShares(cli: Cli, made: PreparedShares, { set, threshold, count }: ShareSet): Promise<void> {
  for (const [index, share] of made.shares.entries()) {
    cli.terminal.note(
      `\nShare ${index + 1} of ${count}, set ${set}; any ${threshold} open the vault. Write down all words:`,
    );
    await share.use((bytes) => cli.terminal.secret(bytes));
    if (!cli.prompter.interactive) continue;
    (await cli.prompter.ask("Press Enter when it is written down", { hidden: true })).wipe();
  }
}

/** One file for each share, 0600. Existing files are never written to. */
function writeShares(directory: string, { shares }: PreparedShares, { set, count }: ShareSet): string[] {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const written: string[] = [];
  try {
    shares.forEach((share, index) => {
      const path = join(directory, `sidekey-share-${set}-${index + 1}-of-${count}.txt`);
      share.use((bytes) => writeFileSync(path, bytes, { flag: "wx", mode: 0o600, flush: true }));
      written.push(path);
    });
    return written;
  } catch (error) {
    for (const path of written) rmSync(path, { force: true });
    throw error;
  }
}

async function verify(cli: Cli, options: VerifyOptions): Promise<void> {
  if (options.stdin === true && options.file !== undefined) throw usageError("--stdin and --file exclude each other");
  const { dataDir } = cli.config();
  requireVault(dataDir);
  const vault = openVault(dataDir, { actor: cli.actor });
  let asked: ShareSet | null = null;
  const read: ReadShares = async (set) => {
    asked = set;
    return await readShares(cli, options, set);
  };
  try {
    await vault.proveOpening({ kind: "shares", read });
  } catch (error) {
    throw verifyFailure(error);
  } finally {
    vault.close();
  }
  cli.terminal.out(proven(asked));
}

async function readShares(cli: Cli, { stdin, file }: VerifyOptions, set: ShareSet): Promise<readonly Secret[]> {
  if (stdin === true) return await readShareInput(cli);
  if (file !== undefined) return readShareFiles(file);
  return await promptShares(cli, set);
}

function proven(set: ShareSet | null): string {
  if (set === null) return "the shares open the vault";
  return `the shares open the vault: set ${set.set}, ${set.threshold} of ${set.count} needed`;
}

/** A wrong share is a failed check, not a sealed vault. */
function verifyFailure(error: unknown): unknown {
  const problem = error instanceof VaultSealedError ? error.problems[0] : undefined;
  if (problem === undefined) return error;
  if (problem.code === "no_wrapper")
    return notFound("this vault has no shares", "make some with `sidekey vault shares split`");
  return new CliError(problem.message, { exitCode: EXIT.failed });
}
