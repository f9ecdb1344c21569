import { resolve } from "node:path";
import type { Command } from "commander";
import { execEnvironment } from "../../daemon/unlock-config.ts";
import type { Vault } from "../../store/vault.ts";
import { type Unlocker, wrapperWarnings } from "../../store/wrappers.ts";
import type { Cli } from "../cli.ts";
import { CliError, notFound, usageError } from "../failure.ts";
import { askOnce, configuredUnlockers, readVault, toUnlocker, withVault } from "../open-vault.ts";
import { formatTime, parseSpan, renderTable } from "../output.ts";
import { newPassphrase } from "../secret-input.ts";

/** `vault wrapper list|add|remove`. */
export function registerWrapper(vault: Command, cli: Cli): void {
  const wrapper = vault.command("wrapper").description("ways to open the vault; any one opens it");
  wrapper
    .command("list")
    .description("all wrappers")
    .option("--json", "as JSON")
    .action((options: { json?: boolean }) => listWrappers(cli, options.json === true));
  wrapper
    .command("remove")
    .description("remove one; the last one stays")
    .argument("<id>", "as `vault wrapper list` shows it")
    .option("--yes", "do not ask")
    .action((id: string, options: { yes?: boolean }) => removeWrapper(cli, id, options.yes === true));
  registerAdd(wrapper.command("add").description("add a way to open the vault"), cli);
}

function registerAdd(add: Command, cli: Cli): void {
  add
    .command("file")
    .description("a key file; it is made when it is missing")
    .argument("<path>")
    .action((path: string) => addWrapper(cli, { kind: "file", path: resolve(path) }, `{ file: ${resolve(path)} }`));
  add
    .command("passphrase")
    .description("a passphrase, asked for twice without showing it")
    .option("--stdin", "read it from stdin")
    .action((options: { stdin?: boolean }) => addPassphrase(cli, options.stdin === true));
  add
    .command("systemd")
    .description("a credential in CREDENTIALS_DIRECTORY; run this from a unit with LoadCredentialEncrypted=")
    .argument("<name>")
    .action((name: string) => {
      const directory = cli.environment.CREDENTIALS_DIRECTORY || null;
      return addWrapper(cli, { kind: "systemd", name, directory }, `{ systemd: ${name} }`);
    });
  add
    .command("exec")
    .description("a program that prints the key: 32 bytes, raw or as base64")
    .argument("<program...>", "absolute path and arguments, after --")
    .option("--timeout <span>", "how long it may take, such as 30s (default: 10s)")
    .action((argv: string[], options: { timeout?: string }) => addExec(cli, argv, options.timeout));
  for (const [kind, key] of [
    ["vault-transit", "vaultTransit"],
    ["aws-kms", "awsKms"],
  ] as const) {
    add
      .command(kind)
      .description(`the \`${key}:\` entry under \`unlock:\` in daemon.yaml`)
      .option("--entry <number>", "which entry under `unlock:` when there are several, from 1")
      .action((options: { entry?: string }) => addConfigured(cli, kind, key, options.entry));
  }
}

async function listWrappers(cli: Cli, json: boolean): Promise<void> {
  const wrappers = await readVault(cli, (vault) => vault.listWrappers());
  if (json) return cli.terminal.json(wrappers);
  const rows = wrappers.map((wrapper) => [wrapper.id, wrapper.kind, formatTime(wrapper.createdAt)]);
  cli.terminal.out(renderTable(["id", "kind", "created"], rows));
  for (const warning of wrapperWarnings(wrappers)) cli.terminal.warn(warning);
}

/** @param entry what daemon.yaml needs for it; null when it is there */
async function addWrapper(cli: Cli, added: Unlocker, entry: string | null): Promise<void> {
  // The first opening unseals, the second gives the root key: nobody is asked twice.
  const unlockers = configuredUnlockers(cli).map(askOnce);
  const add = async (vault: Vault): Promise<void> => {
    const { id } = await vault.addWrapper(added, unlockers, cli.actor);
    const next = entry === null ? "" : `; to use it at start put \`${entry}\` under \`unlock:\` in daemon.yaml`;
    cli.terminal.note(`added wrapper ${id}${next}`);
    for (const warning of wrapperWarnings(vault.listWrappers())) cli.terminal.warn(warning);
  };
  await withVault(cli, add, unlockers);
}

async function addPassphrase(cli: Cli, stdin: boolean): Promise<void> {
  const read = (): ReturnType<typeof newPassphrase> =>
    newPassphrase({ input: cli.stdin, prompter: cli.prompter }, stdin);
  await addWrapper(cli, { kind: "passphrase", read }, "{ passphrase: prompt }");
}

async function addExec(cli: Cli, [program = "", ...args]: string[], timeout: string | undefined): Promise<void> {
  const timeoutMs = timeout === undefined ? undefined : parseSpan(timeout);
  if (timeoutMs === null) throw usageError("--timeout is not a span", "write a number and a unit, such as 30s");
  const environment = execEnvironment(cli.environment);
  const timed = timeoutMs === undefined ? {} : { timeoutMs };
  const entry = `{ exec: ${JSON.stringify([program, ...args])} }`;
  await addWrapper(cli, { kind: "exec", argv: [program, ...args], environment, ...timed }, entry);
}

async function addConfigured(cli: Cli, kind: Unlocker["kind"], key: string, entry: string | undefined): Promise<void> {
  const { unlock } = cli.config();
  const matching = unlock.filter((one, index) => {
    if (entry !== undefined && entry !== String(index + 1)) return false;
    return "unlocker" in one && one.unlocker.kind === kind;
  });
  const [found, other] = matching;
  if (found === undefined) {
    throw new CliError(
      `daemon.yaml has no \`${key}:\` entry${entry === undefined ? "" : ` number ${entry}`} under \`unlock:\``,
      {
        nextStep: `add \`{ ${key}: { ... } }\` behind the entries that open the vault now, then run this again`,
      },
    );
  }
  if (other !== undefined) throw usageError(`daemon.yaml has several \`${key}:\` entries`, "name one with --entry");
  await addWrapper(cli, toUnlocker(cli, found), null);
}

async function removeWrapper(cli: Cli, id: string, yes: boolean): Promise<void> {
  if (!yes && !cli.prompter.interactive) throw usageError("nobody can be asked here", "say --yes to remove it");
  await withVault(cli, async (vault) => {
    const wrappers = vault.listWrappers();
    const found = wrappers.find((wrapper) => wrapper.id === id);
    if (found === undefined) throw notFound(`there is no wrapper ${id}`, "`sidekey vault wrapper list` shows them");
    const rest = wrappers.filter((wrapper) => wrapper !== found);
    for (const warning of wrapperWarnings(rest)) cli.terminal.warn(warning);
    if (!yes && rest.length > 0) await confirm(cli, `Remove the ${found.kind} wrapper ${id}? Type yes`);
    vault.removeWrapper(id, cli.actor);
    cli.terminal.note(`removed the ${found.kind} wrapper ${id}; older backups still open with it`);
  });
}

async function confirm(cli: Cli, question: string): Promise<void> {
  const answer = await cli.prompter.ask(question, { hidden: false });
  const agreed = answer.use((bytes) => bytes.toString("latin1") === "yes");
  if (!agreed) throw new CliError("not confirmed; nothing was changed");
}
