import { existsSync, readFileSync } from "node:fs";
import type { Command } from "commander";
import { summarizeCertificate } from "../../daemon/ingress/certificates.ts";
import { type TrustFiles, trustFiles } from "../../daemon/ingress/trust-bundle.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../failure.ts";
import { formatTime, renderFacts } from "../output.ts";

/** `ca show|export`: the certificate that services have to trust. Public, so the vault stays closed. */
export function registerCa(program: Command, cli: Cli): void {
  const ca = program.command("ca").description("the certificate that services have to trust");
  ca.command("show")
    .description("fingerprint, validity and files")
    .option("--json", "as JSON")
    .action((options: { json?: boolean }) => showCa(cli, options.json === true));
  ca.command("export")
    .description("the root certificate as PEM")
    .option("--bundle", "with the system's roots, for settings that replace them")
    .action((options: { bundle?: boolean }) => exportCa(cli, options.bundle === true));
}

function showCa(cli: Cli, json: boolean): void {
  const files = requireTrustFiles(cli);
  const root = summarizeCertificate(readFileSync(files.root, "utf8"));
  if (root === null) throw damaged(files.root);
  if (json) {
    cli.terminal.json({ ...root, files });
    return;
  }
  cli.terminal.out(
    renderFacts([
      ["name", root.commonName],
      ["sha-256", root.fingerprint],
      ["valid from", formatTime(root.notBeforeMs)],
      ["valid to", formatTime(root.notAfterMs)],
      ["root", files.root],
      ["bundle", files.bundle],
      ["java", files.javaTruststore],
    ]),
  );
}

function exportCa(cli: Cli, bundle: boolean): void {
  const files = requireTrustFiles(cli);
  cli.terminal.out(readFileSync(bundle ? files.bundle : files.root, "utf8").trimEnd());
}

function requireTrustFiles(cli: Cli): TrustFiles {
  const files = trustFiles(cli.config().dataDir);
  if (Object.values(files).every((file) => existsSync(file))) return files;
  throw new CliError(`no CA in ${cli.config().dataDir}`, { nextStep: "`sidekey init` makes it, or writes it again" });
}

function damaged(file: string): CliError {
  return new CliError(`${file} is not a certificate`, { nextStep: "`sidekey init` writes it again" });
}
