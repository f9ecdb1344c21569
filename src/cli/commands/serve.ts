import type { Command } from "commander";
import type { Cli } from "../cli.ts";
import { runInForeground } from "../foreground.ts";
import { requireVault, toUnlocker } from "../open-vault.ts";

/** `serve`: the daemon in the foreground, with what `init` made before. For containers and unit files. */
export function registerServe(program: Command, cli: Cli): void {
  program
    .command("serve")
    .description("run the daemon in the foreground; never makes a vault")
    .option("--allow-dangerous-environment", "start although the environment can give keys away; recorded in the audit")
    .action((options: { allowDangerousEnvironment?: boolean }) =>
      serve(cli, options.allowDangerousEnvironment === true),
    );
}

async function serve(cli: Cli, allowDangerous: boolean): Promise<void> {
  const config = cli.config();
  requireVault(config.dataDir);
  const unlockers = config.unlock.map((entry) => toUnlocker(cli, entry));
  const code = await runInForeground(cli, { config, unlockers, allowDangerous }, (proxy, metrics) => {
    cli.terminal.note(`sidekey ${cli.version} listens on ${proxy}${metrics === null ? "" : `, metrics on ${metrics}`}`);
  });
  cli.exit(code);
}
