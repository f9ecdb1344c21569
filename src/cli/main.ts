import { readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command, CommanderError } from "commander";
import { loadConfig, processEnvironment } from "../daemon/config.ts";
import { hardenProcess } from "../daemon/process-hygiene.ts";
import { loadCatalog } from "../providers/catalog.ts";
import type { Cli } from "./cli.ts";
import { registerCommands } from "./command-list.ts";
import { createDaemonClient } from "./daemon-client.ts";
import { describeFailure, EXIT, usageError } from "./failure.ts";
import { createPrompter } from "./prompt.ts";
import { processTerminal, type Terminal } from "./terminal.ts";

const PACKAGE_ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

async function main(argv: readonly string[]): Promise<number> {
  hardenProcess();
  const environment = processEnvironment();
  const terminal = processTerminal((environment.NO_COLOR ?? "") === "");
  let exitCode: number = EXIT.ok;
  const program = createProgram(terminal);
  const cli = createCli(program, terminal, (code) => {
    exitCode = code;
  });
  try {
    await registerCommands(program, cli, argv);
    await program.parseAsync([...argv], { from: "user" });
    await terminal.flush();
    return exitCode;
  } catch (error) {
    const failure = error instanceof CommanderError ? fromCommander(error) : error;
    const report = failure === null ? null : describeFailure(failure);
    if (report !== null) terminal.fail(report);
    await terminal.flush();
    return report?.exitCode ?? EXIT.ok;
  }
}

function createProgram(terminal: Terminal): Command {
  const program = new Command("sidekey");
  program
    .description("API-key sidecar: services send requests without keys, sidekey adds the right one")
    .option("--data <dir>", "data directory (default: SIDEKEY_DATA, else ./data)")
    .option("--config <dir>", "config directory (default: SIDEKEY_CONFIG, else ./config)")
    .version(packageVersion(), "-V, --version")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.out(text.trimEnd()),
      writeErr: (text) => terminal.note(text.trimEnd()),
      // Its errors repeat what was typed, which may be a key: fromCommander says it without.
      outputError: () => {},
    })
    .helpCommand("help [command]", "show help")
    .showSuggestionAfterError(false);
  return program;
}

function createCli(program: Command, terminal: Terminal, exit: (code: number) => void): Cli {
  const overrides: Cli["overrides"] = () => {
    const { data, config } = program.opts<{ data?: string; config?: string }>();
    return { data, config };
  };
  const config: Cli["config"] = () => loadConfig({ argvData: overrides().data, argvConfig: overrides().config });
  return {
    terminal,
    prompter: createPrompter(process.stdin, terminal),
    stdin: process.stdin,
    environment: processEnvironment(),
    actor: `cli:${userName()}`,
    version: packageVersion(),
    packageRoot: PACKAGE_ROOT,
    now: Date.now,
    overrides,
    config,
    catalog: () => loadCatalog(config().providersDir),
    daemon: () => createDaemonClient(config().dataDir),
    exit,
  };
}

function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(join(PACKAGE_ROOT, "package.json"), "utf8")) as { version: string };
  return manifest.version;
}

/** A container may run under a number that has no name. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid${process.getuid?.() ?? ""}`;
  }
}

/** Help and version are no failures: null. The rest is wrong usage, told without repeating arguments. */
function fromCommander(error: CommanderError): Error | null {
  const help = "see `sidekey --help`, or `sidekey <command> --help`";
  const quoted = /^error: (?:required option|missing required argument|option) '([^']*)'/.exec(error.message)?.[1];
  switch (error.code) {
    case "commander.version":
    case "commander.helpDisplayed":
      return null;
    case "commander.help":
      return usageError("which command?", help);
    case "commander.unknownCommand":
      return usageError("no such command", help);
    case "commander.unknownOption":
      return usageError(
        `unknown option ${optionName(error.message)}`,
        `${help}; for \`run\` put -- before the command`,
      );
    case "commander.excessArguments":
      return usageError("too many arguments", `a key never goes on the command line; ${help}`);
    case "commander.missingArgument":
      return usageError(`missing argument <${quoted ?? "?"}>`, help);
    case "commander.optionMissingArgument":
    case "commander.missingMandatoryOptionValue":
      return usageError(`option ${quoted ?? "?"} needs a value`, help);
    default:
      return usageError("the command line is wrong", help);
  }
}

/** `--key=abc` -> `--key`: what follows may be a secret. */
function optionName(message: string): string {
  return /'(--?[a-z][a-z-]{0,30})(?:[='])/.exec(message)?.[1] ?? "";
}

// Not `exitCode`: a command is over when it is over, whatever timer or socket is left.
process.exit(await main(process.argv.slice(2)));
