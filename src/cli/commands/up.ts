import type { Command } from "commander";
import type { Cli } from "../cli.ts";
import { runInForeground } from "../foreground.ts";
import { renderBox } from "../output.ts";
import { type Prepared, prepare } from "../prepare.ts";

/** `up`: `init` where needed, then the daemon in the foreground. */
export function registerUp(program: Command, cli: Cli): void {
  program
    .command("up")
    .description("the quick way: init if needed, then run the daemon in the foreground")
    .option("--allow-dangerous-environment", "start although the environment can give keys away; recorded in the audit")
    .action((options: { allowDangerousEnvironment?: boolean }) => up(cli, options.allowDangerousEnvironment === true));
}

async function up(cli: Cli, allowDangerous: boolean): Promise<void> {
  const prepared = await prepare(cli, { passphrase: false, stdin: false, maySeal: true });
  for (const note of prepared.notes) cli.terminal.note(note);
  const code = await runInForeground(cli, { ...prepared, allowDangerous }, (proxy, metrics) => {
    cli.terminal.out(nextSteps(prepared, cli.packageRoot, proxy, metrics));
  });
  cli.exit(code);
}

function nextSteps(prepared: Prepared, packageRoot: string, proxy: string, metrics: string | null): string {
  const { clientToken, config } = prepared;
  const sidekey = process.cwd() === packageRoot ? "bin/sidekey" : "sidekey";
  const address = proxy.replace(/^http:\/\//, "");
  const tryIt = `curl -x http://app:${clientToken ?? "TOKEN"}@${address} http://demo.sidekey.test/hello`;
  const token =
    clientToken === undefined
      ? [`The token of client app was shown at the first start. A new one: ${sidekey} client add app`]
      : ["The token of client app is in the line above. Store it now: it is not shown again."];
  return renderBox(`sidekey listens on ${address}`, [
    ...(config.demo ? ["Try it:", `  ${tryIt}`] : []),
    ...(config.demo || clientToken === undefined ? [] : [`Token of client app: ${clientToken}`]),
    ...token,
    "",
    `Store your first key:      ${sidekey} credential add fmp`,
    `Environment of a service:  ${sidekey} env`,
    `Run one program with it:   ${sidekey} run -- <command>`,
    ...(metrics === null ? [] : [`Metrics:                   http://${metrics.replace(/^http:\/\//, "")}/metrics`]),
    "Ctrl-C stops.",
  ]);
}
