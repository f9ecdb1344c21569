import type { Config } from "../daemon/config.ts";
import { dangerousEnvironment } from "../daemon/dangerous-environment.ts";
import { fileProblems } from "../daemon/file-modes.ts";
import { coreDumpProblems, endOnCrash, readProcessLimits } from "../daemon/process-hygiene.ts";
import { assertSocketFits } from "../daemon/setup-data-dir.ts";
import type { Unlocker } from "../store/wrappers.ts";
import type { Cli } from "./cli.ts";
import { CliError, EXIT, type ExitCode } from "./failure.ts";

/**
 * Starts the daemon and stays until it ends. The first Ctrl-C (or SIGTERM) drains, the second stops
 * at once.
 * @param onReady called once the listeners answer
 * @throws StartError with the next step
 */
export async function runInForeground(
  cli: Cli,
  start: { readonly config: Config; readonly unlockers: readonly Unlocker[]; readonly allowDangerous: boolean },
  onReady: (proxy: string, metrics: string | null) => void,
): Promise<ExitCode> {
  process.umask(0o077);
  endOnCrash(cli.terminal.log, () => process.exit(EXIT.crashed));
  const dangers = checkEnvironment(cli, start.allowDangerous);
  checkFiles(cli, start.config);
  assertSocketFits(start.config.dataDir);
  // Only here: the other commands should not pay for loading the daemon.
  const { startDaemon } = await import("../daemon/daemon.ts");
  const daemon = await startDaemon({
    ...start,
    dangers,
    version: cli.version,
    writeLog: cli.terminal.log,
  });
  for (const warning of condensed(daemon.warnings)) cli.terminal.warn(warning);
  const sealed = daemon.sealed();
  if (sealed !== null) {
    cli.terminal.warn(`${sealed}\nRequests are answered 503 until \`sidekey vault unseal\` opens it`);
  }
  let stopping = false;
  let killed = false;
  const onSignal = (): void => {
    if (stopping) {
      killed = true;
      daemon.kill();
      return;
    }
    stopping = true;
    cli.terminal.note("stopping: waiting for requests in flight; press Ctrl-C again to stop at once");
    daemon.stop().catch(() => daemon.kill());
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  const onReload = (): void => {
    daemon.reload().then(
      ({ ok, problems }) =>
        ok
          ? cli.terminal.note("policy reloaded")
          : cli.terminal.warn(`the policy was refused, the last good one stays:\n${problems.join("\n")}`),
      () => cli.terminal.warn("the policy could not be reloaded"),
    );
  };
  process.on("SIGHUP", onReload);
  try {
    onReady(daemon.listening.proxy, daemon.listening.metrics);
    await daemon.closed;
    return killed ? EXIT.interrupted : EXIT.ok;
  } finally {
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
    process.off("SIGHUP", onReload);
  }
}

const NOT_YET = "does not exist yet";

/** A new policy names many keys that nobody has added; that is one warning, not a page of them. */
function condensed(warnings: readonly string[]): readonly string[] {
  const missing = warnings.filter((warning) => warning.includes(NOT_YET));
  if (missing.length < 2) return warnings;
  const summary = `${missing.length} credentials or tokens that policy.yaml names do not exist yet; \`sidekey policy check\` shows the commands that add them`;
  return [...warnings.filter((warning) => !missing.includes(warning)), summary];
}

/**
 * A debugger, TLS keys on disk or unverified TLS would undo what sidekey promises, so it does not start (threats F1)
 * unless the operator insists.
 * @returns what was allowed all the same
 */
function checkEnvironment(cli: Cli, allow: boolean): string[] {
  const problems = dangerousEnvironment(cli.environment, process.execArgv);
  for (const { severity, message } of problems) if (severity === "warn") cli.terminal.warn(message);
  for (const problem of coreDumpProblems(readProcessLimits())) cli.terminal.warn(problem);
  const refused = problems.filter(({ severity }) => severity === "refuse").map(({ message }) => message);
  if (refused.length > 0 && !allow) {
    throw new CliError(refused.join("\n"), {
      nextStep: "to start all the same, with keys at risk: --allow-dangerous-environment",
    });
  }
  for (const message of refused) cli.terminal.warn(`DANGEROUS, allowed by --allow-dangerous-environment: ${message}`);
  return refused;
}

function checkFiles(cli: Cli, config: Config): void {
  const problems = fileProblems(config);
  for (const { severity, message } of problems) if (severity === "warn") cli.terminal.warn(message);
  const refused = problems.filter(({ severity }) => severity === "refuse");
  if (refused.length > 0) throw new CliError(refused.map(({ message }) => message).join("\n"));
}
