import { readFileSync, statSync, writeFileSync } from "node:fs";
import type { Command } from "commander";
import type { ChainProblem } from "../../store/audit.ts";
import type { Vault } from "../../store/vault.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../failure.ts";
import { withVault } from "../open-vault.ts";

/** Files that were kept elsewhere. */
export interface Records {
  readonly anchor?: string;
  readonly checkpoint?: string;
}

/** A year of anchors, one a minute, is twice this; a day is far less. */
const MAX_RECORD_BYTES = 64 * 1024 * 1024;

/** `audit checkpoint`: the signed end of the chain, to be kept where nobody who can write here can write. */
export function registerCheckpoint(audit: Command, cli: Cli): void {
  audit
    .command("checkpoint")
    .description("the signed end of the chain, to be kept elsewhere; `audit verify --checkpoint` compares")
    .option("--out <file>", "write it to a new file instead of stdout")
    .option("--json", "as JSON, with the key that verifies it")
    .action((options: { out?: string; json?: boolean }) => checkpoint(cli, options));
}

async function checkpoint(cli: Cli, { out, json }: { out?: string; json?: boolean }): Promise<void> {
  const made = await withVault(cli, (vault) => vault.checkpoint());
  if (out !== undefined) {
    writeFileSync(out, made.note, { flag: "wx", mode: 0o600 });
    return cli.terminal.note(`written to ${out}; verifier key ${made.verifierKey}`);
  }
  if (json === true) return cli.terminal.json(made);
  cli.terminal.out(made.note.trimEnd());
}

/**
 * Compares the unsealed vault with the named files.
 * @returns the first problem, null when the vault holds all that they recorded
 */
export function compareRecords(vault: Vault, records: Records): ChainProblem | null {
  for (const kind of ["anchor", "checkpoint"] as const) {
    const file = records[kind];
    if (file === undefined) continue;
    const result = vault.compare(kind, readRecord(file));
    if (!result.ok) return result;
  }
  return null;
}

function readRecord(file: string): string {
  if (statSync(file).size > MAX_RECORD_BYTES) {
    throw new CliError(`${file} is larger than 64 MiB`, { nextStep: "give its newest lines: tail -n 1000" });
  }
  return readFileSync(file, "utf8");
}
