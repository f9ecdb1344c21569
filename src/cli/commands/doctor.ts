import type { Command } from "commander";
import { CHECKS, type Finding } from "../checkup.ts";
import type { Cli } from "../cli.ts";
import { describeFailure, EXIT } from "../failure.ts";

/** `doctor`: everything that can be wrong with an installation, each with the next step. */
export function registerDoctor(program: Command, cli: Cli): void {
  program
    .command("doctor")
    .description("check the installation; exit 1 if something is wrong")
    .option("--json", "as JSON")
    .action((options: { json?: boolean }) => examine(cli, options.json === true));
}

async function examine(cli: Cli, json: boolean): Promise<void> {
  const findings: Finding[] = [];
  for (const { name, check, needsConfig } of CHECKS) {
    // One mistake in daemon.yaml should not be told once per check.
    if (needsConfig && findings.some((finding) => finding.name === "config" && finding.mark === "fail")) continue;
    try {
      findings.push(...(await check(cli)).map((finding) => ({ name, ...finding })));
    } catch (error) {
      // A check that cannot be made is itself a finding; the others still say what they can.
      const { message, nextStep } = describeFailure(error);
      findings.push({ name, mark: "fail", text: nextStep === null ? message : `${message}; ${nextStep}` });
    }
  }
  if (findings.some((finding) => finding.mark === "fail")) cli.exit(EXIT.failed);
  if (json) return cli.terminal.json(findings);
  for (const { name, mark, text } of findings) cli.terminal.status(mark, `${name.padEnd(12)}${text}`);
}
