import { spawn } from "node:child_process";
import { constants } from "node:os";
import type { Command } from "commander";
import type { Cli } from "../cli.ts";
import { serviceEnvironment } from "../environment.ts";
import { CliError, EXIT } from "../failure.ts";
import { withVault } from "../open-vault.ts";
import { proxyAddress, proxyUrl } from "../service-address.ts";

/** A token that outlives its program (power cut) ends by itself. */
const TOKEN_LIFE_MS = 24 * 3_600_000;
const FORWARDED: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2", "SIGWINCH"];

/** `run -- cmd`: one program behind the proxy, with a token that lives as long as the program. */
export function registerRun(program: Command, cli: Cli): void {
  program
    .command("run <command> [arguments...]")
    .description("run a program through sidekey: sidekey run -- python app.py")
    .option("--client <name>", "client of policy.yaml", "app")
    .action((command: string, args: string[], options: { client: string }) =>
      run(cli, [command, ...args], options.client),
    );
}

/** The vault stays open while the program runs, so that a passphrase is asked for once and not again at the end. */
function run(cli: Cli, argv: readonly string[], client: string): Promise<void> {
  return withVault(cli, async (vault) => {
    const expiresAt = cli.now() + TOKEN_LIFE_MS;
    const { token, id } = vault.addClientToken(client, { expiresAt, label: "run" }, cli.actor);
    try {
      await daemonKnows(cli);
      cli.exit(await runChild(argv, { ...cli.environment, ...childVariables(cli, client, token) }));
    } finally {
      vault.revokeClientTokens(id, cli.actor);
    }
  });
}

/** The first request must not come before the daemon has seen the new token; a reload looks at the vault at once. */
async function daemonKnows(cli: Cli): Promise<void> {
  const told = await cli
    .daemon()
    .reload()
    .catch(() => null);
  if (told === null) cli.terminal.warn("no daemon answers; start it with `sidekey up`");
}

function childVariables(cli: Cli, client: string, token: string): Readonly<Record<string, string>> {
  const config = cli.config();
  const { JAVA_TOOL_OPTIONS } = cli.environment;
  const NO_PROXY = cli.environment.NO_PROXY ?? cli.environment.no_proxy;
  const variables = serviceEnvironment({
    proxyUrl: proxyUrl(proxyAddress(config), client, token),
    dataDir: config.dataDir,
    inherited: {
      ...(JAVA_TOOL_OPTIONS === undefined ? {} : { JAVA_TOOL_OPTIONS }),
      ...(NO_PROXY === undefined ? {} : { NO_PROXY }),
    },
  });
  return Object.fromEntries(variables);
}

/** Resolves to the exit code a shell would report. @throws CliError when the program cannot be started */
function runChild(argv: readonly string[], env: Readonly<Record<string, string | undefined>>): Promise<number> {
  const [command = "", ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: "inherit", env });
    const forward = (signal: NodeJS.Signals): void => {
      // Ctrl-C at a terminal reaches the program by itself, as it is in the same process group.
      if (signal === "SIGINT" && process.stdin.isTTY) return;
      child.kill(signal);
    };
    for (const signal of FORWARDED) process.on(signal, forward);
    const done = (): void => {
      for (const signal of FORWARDED) process.off(signal, forward);
    };
    child.once("error", (error: NodeJS.ErrnoException) => {
      done();
      reject(cannotStart(command, error));
    });
    child.once("close", (code, signal) => {
      done();
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}

function cannotStart(command: string, error: NodeJS.ErrnoException): CliError {
  const exitCode = error.code === "ENOENT" ? EXIT.notFound : EXIT.failed;
  return new CliError(`cannot start ${command} (${error.code ?? "unknown"})`, {
    exitCode,
    nextStep: exitCode === EXIT.notFound ? "is it on the PATH?" : "is it a program that this user may run?",
  });
}
