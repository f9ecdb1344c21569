import type { Command } from "commander";
import type { Cli } from "./cli.ts";

type Register = (program: Command, cli: Cli) => void;

/** In the order of `sidekey --help`. Loaded when needed: all of them together take longer than most commands do. */
const COMMANDS: ReadonlyMap<string, () => Promise<Register>> = new Map([
  ["up", async () => (await import("./commands/up.ts")).registerUp],
  ["init", async () => (await import("./commands/init.ts")).registerInit],
  ["serve", async () => (await import("./commands/serve.ts")).registerServe],
  ["status", async () => (await import("./commands/status.ts")).registerStatus],
  ["doctor", async () => (await import("./commands/doctor.ts")).registerDoctor],
  ["env", async () => (await import("./commands/env.ts")).registerEnv],
  ["run", async () => (await import("./commands/run.ts")).registerRun],
  ["provider", async () => (await import("./commands/provider.ts")).registerProvider],
  ["credential", async () => (await import("./commands/credential.ts")).registerCredential],
  ["seal", async () => (await import("./commands/seal.ts")).registerSeal],
  ["client", async () => (await import("./commands/client.ts")).registerClient],
  ["policy", async () => (await import("./commands/policy.ts")).registerPolicy],
  ["prices", async () => (await import("./commands/prices.ts")).registerPrices],
  ["usage", async () => (await import("./commands/usage.ts")).registerUsage],
  ["alerts", async () => (await import("./commands/alerts.ts")).registerAlerts],
  ["requests", async () => (await import("./commands/requests.ts")).registerRequests],
  ["audit", async () => (await import("./commands/audit.ts")).registerAudit],
  ["vault", async () => (await import("./commands/vault.ts")).registerVault],
  ["backup", async () => (await import("./commands/backup.ts")).registerBackup],
  ["ca", async () => (await import("./commands/ca.ts")).registerCa],
]);

/** Options of `sidekey` itself that take a value. */
const WITH_VALUE: ReadonlySet<string> = new Set(["--data", "--config"]);

/** Registers the command that `argv` names; all of them when it names none, for the help and for errors. */
export async function registerCommands(program: Command, cli: Cli, argv: readonly string[]): Promise<void> {
  const named = COMMANDS.get(firstWord(argv) ?? "");
  const loaded = await Promise.all((named === undefined ? [...COMMANDS.values()] : [named]).map((load) => load()));
  for (const register of loaded) register(program, cli);
}

function firstWord(argv: readonly string[]): string | undefined {
  return argv.find((word, at) => !word.startsWith("-") && !WITH_VALUE.has(argv[at - 1] ?? ""));
}
