import type { Command } from "commander";
import type { Cli } from "../cli.ts";
import { renderBox } from "../output.ts";
import { type Prepared, prepare } from "../prepare.ts";

/** `init`: vault, CA, sample config and the first client token, without starting anything. */
export function registerInit(program: Command, cli: Cli): void {
  program
    .command("init")
    .description("make the vault, the CA and the sample config; safe to run again")
    .option("--passphrase", "open the vault with a passphrase instead of a key file")
    .option("--stdin", "with --passphrase: read it from stdin")
    .action((options: { passphrase?: boolean; stdin?: boolean }) => init(cli, options));
}

async function init(cli: Cli, options: { passphrase?: boolean; stdin?: boolean }): Promise<void> {
  const prepared = await prepare(cli, { passphrase: options.passphrase === true, stdin: options.stdin === true });
  for (const note of prepared.notes) cli.terminal.note(note);
  if (prepared.clientToken === undefined) {
    cli.terminal.note(`${prepared.config.dataDir} is ready. A new client token: \`sidekey client add app\``);
    return;
  }
  cli.terminal.out(firstSteps(prepared, prepared.clientToken));
}

function firstSteps(prepared: Prepared, token: string): string {
  return renderBox("sidekey is ready", [
    "Token of client app. Store it now: it is not shown again.",
    `  ${token}`,
    "",
    "Store your first key:     sidekey credential add fmp",
    "Start the daemon:         sidekey serve",
    "Environment of a service: sidekey env",
    `Back up ${unlockText(prepared)}: without it nothing in the vault can be opened.`,
  ]);
}

function unlockText({ config }: Prepared): string {
  const [first] = config.unlock;
  return first !== undefined && "file" in first ? first.file : "the passphrase";
}
