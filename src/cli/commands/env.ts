import { resolve } from "node:path";
import type { Command } from "commander";
import { isClientName } from "../../store/clients.ts";
import type { Cli } from "../cli.ts";
import { baseUrlEnvironment, serviceEnvironment } from "../environment.ts";
import { ENVIRONMENT_FORMATS, type EnvironmentFormat, formatEnvironment } from "../environment-format.ts";
import { usageError } from "../failure.ts";
import { withVault } from "../open-vault.ts";
import { collectSecrets, wipeAll } from "../secret-input.ts";
import { proxyAddress, proxyUrl } from "../service-address.ts";

const PLACEHOLDER = "SIDEKEY_TOKEN";
const TOKEN_FIELD = { name: "token", label: "Client token", secret: true, hint: null };
const TOKEN_SHAPE = /^[A-Za-z0-9_-]{16,200}$/;

const ADDRESS = /^(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253}):[1-9][0-9]{0,4}$/;

interface EnvOptions {
  readonly client: string;
  readonly format: string;
  readonly address?: string;
  readonly trustDir?: string;
  readonly newToken?: boolean;
  readonly tokenStdin?: boolean;
}

/** `env`: the variables that send a service's requests through the proxy. */
export function registerEnv(program: Command, cli: Cli): void {
  program
    .command("env")
    .description("the variables that send a service's requests through sidekey")
    .option("--client <name>", "client of policy.yaml", "app")
    .option("--format <format>", ENVIRONMENT_FORMATS.join("|"), "sh")
    .option("--address <host:port>", "where the service reaches the proxy (default: this machine)")
    .option("--trust-dir <dir>", "where the service sees the data directory's CA files")
    .option("--new-token", "make a token and fill it in")
    .option("--token-stdin", "read the token from stdin and fill it in")
    .action((options: EnvOptions) => printEnvironment(cli, options));
}

async function printEnvironment(cli: Cli, options: EnvOptions): Promise<void> {
  const format = ENVIRONMENT_FORMATS.find((known) => known === options.format);
  if (format === undefined) throw usageError("--format takes one of", ENVIRONMENT_FORMATS.join(", "));
  if (options.newToken === true && options.tokenStdin === true) {
    throw usageError("--new-token and --token-stdin exclude each other");
  }
  if (options.address !== undefined && !ADDRESS.test(options.address)) {
    throw usageError("--address takes host:port", "for example sidekey:8787");
  }
  if (!isClientName(options.client)) throw usageError("--client takes the name of a client of policy.yaml");
  const config = cli.config();
  const token = await chooseToken(cli, options);
  const url = proxyUrl(options.address ?? proxyAddress(config), options.client, token ?? PLACEHOLDER);
  const dataDir = resolve(options.trustDir ?? config.dataDir);
  const text = formatEnvironment(serviceEnvironment({ proxyUrl: url, dataDir }), format, baseUrlEnvironment(url));
  cli.terminal.out((token === null ? withReference(text, format) : text).trimEnd());
  if (token !== null) return;
  cli.terminal.note(
    `${PLACEHOLDER} stands for the client's token; make one with \`sidekey client add ${options.client}\``,
  );
}

async function chooseToken(cli: Cli, options: EnvOptions): Promise<string | null> {
  if (options.newToken === true) {
    const added = await withVault(cli, (vault) => vault.addClientToken(options.client, { label: "env" }, cli.actor));
    return added.token;
  }
  if (options.tokenStdin !== true) return null;
  const devices = { input: cli.stdin, prompter: cli.prompter };
  const given = await collectSecrets([TOKEN_FIELD], { stdin: true, files: [] }, devices);
  // A client token goes into the output as text anyway; it is no provider key.
  const token = given.get("token")?.use((bytes) => bytes.toString("latin1")) ?? "";
  wipeAll(given);
  if (!TOKEN_SHAPE.test(token)) throw usageError("stdin holds no client token", "it looks like skc_...");
  return token;
}

/** Where the format's reader can fill in a variable of its own, the placeholder becomes a reference to it. */
function withReference(text: string, format: EnvironmentFormat): string {
  switch (format) {
    // Every value is in single quotes: close them, expand, open them again.
    case "sh":
      return text.replaceAll(PLACEHOLDER, `'"$${PLACEHOLDER}"'`);
    case "compose":
      return text.replaceAll(PLACEHOLDER, `\${${PLACEHOLDER}}`);
    case "k8s":
      return text.replaceAll(new RegExp(`(?<=[:"])${PLACEHOLDER}(?=[@"])`, "g"), `$(${PLACEHOLDER})`);
    case "dotenv":
      return text;
  }
}
