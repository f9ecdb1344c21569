import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { ROTATORS } from "../../daemon/monitor/rotators/known-rotators.ts";
import { type Provider, parseProvider } from "../../providers/schema.ts";
import type { Cli } from "../cli.ts";
import { notFound } from "../failure.ts";
import { renderFacts, renderTable } from "../output.ts";

/** `provider list|show|check`: the catalog. */
export function registerProvider(program: Command, cli: Cli): void {
  const provider = program.command("provider").description("the catalog of providers");
  provider
    .command("list")
    .description("all providers")
    .option("--json", "as JSON")
    .action((options: { json?: boolean }) => listProviders(cli, options.json === true));
  provider
    .command("show <id>")
    .description("hosts, fields and key page of one provider")
    .option("--json", "as JSON")
    .action((id: string, options: { json?: boolean }) => showProvider(cli, id, options.json === true));
  provider
    .command("check <file>")
    .description("check a provider file before it goes into the catalog")
    .action((file: string) => checkProvider(cli, file));
}

/** @throws CliError with exit 4 and the ids that begin alike. */
export function requireProvider(cli: Cli, id: string): Provider {
  const { providers } = cli.catalog();
  const found = providers.get(id);
  if (found !== undefined) return found;
  const alike = [...providers.keys()].filter((known) => known.startsWith(id.slice(0, 2))).slice(0, 5);
  const hint = alike.length > 0 ? `did you mean ${alike.join(", ")}? ` : "";
  throw notFound("no such provider in the catalog", `${hint}see \`sidekey provider list\``);
}

function listProviders(cli: Cli, json: boolean): void {
  const providers = [...cli.catalog().providers.values()].sort((a, b) => a.id.localeCompare(b.id));
  if (json) {
    cli.terminal.json(providers.map(describe));
    return;
  }
  const rows = providers.map((provider) => [
    provider.id,
    provider.name,
    provider.category,
    [...provider.environments.keys()].join(", "),
    [...provider.fields.keys()].join(", ") || "-",
  ]);
  cli.terminal.out(renderTable(["id", "name", "category", "environments", "fields"], rows));
}

function showProvider(cli: Cli, id: string, json: boolean): void {
  const provider = requireProvider(cli, id);
  if (json) {
    cli.terminal.json(describe(provider));
    return;
  }
  const { terminal } = cli;
  terminal.out(
    renderFacts([
      ["provider", `${provider.id} (${provider.name})`],
      ["category", provider.category],
      ["docs", provider.docs],
      ["key page", provider.keyPage ?? "-"],
      ["auth", provider.auth.map((rule) => rule.scheme).join(", ")],
      ["rotation", rotationClass(provider)],
    ]),
  );
  const environments = [...provider.environments].map(([name, environment]) => [
    name,
    environment.hosts.map(hostText).join(", "),
  ]);
  terminal.out(`\n${renderTable(["environment", "hosts"], environments)}`);
  const fields = [...provider.fields.values()].map((field) => [
    field.name,
    field.label,
    field.secret ? "secret" : "plain",
    field.hint ?? "-",
  ]);
  if (fields.length > 0) terminal.out(`\n${renderTable(["field", "label", "kind", "hint"], fields)}`);
  const limits = provider.limits.map((limit) => [limit.plan, limit.requests, limit.per ?? "-"]);
  if (limits.length > 0) terminal.out(`\n${renderTable(["plan", "requests", "per"], limits)}`);
  terminal.note(`\nStore a key of it with \`sidekey credential add ${provider.id}\`.`);
}

function checkProvider(cli: Cli, file: string): void {
  const provider = parseProvider(readFileSync(file, "utf8"), file);
  cli.terminal.status("ok", `${file}: ${provider.name}, ${provider.environments.size} environments`);
}

/** Who makes the next key, in a few words. */
export function rotationClass({ rotation, auth }: Provider): string {
  const rotator = rotation?.rotator === undefined ? undefined : ROTATORS.get(rotation.rotator);
  if (rotator !== undefined) {
    const admin = rotator.admin === null ? "the key itself" : `a credential of ${rotator.admin}`;
    return `automatic (${rotator.id}): sidekey makes and ends keys with ${admin}`;
  }
  if (auth.some(({ scheme }) => scheme === "oauth2"))
    return "refresh: access tokens renew by themselves, the rest by hand";
  if (rotation?.kind === "revoke-only") return "by hand; the provider can end a key by API";
  return "by hand: sidekey reminds, tests and moves the traffic";
}

/** `name`, with the port only when it is not 443. */
export function hostText(host: { readonly host: string; readonly port: number }): string {
  return host.port === 443 ? host.host : `${host.host}:${host.port}`;
}

function describe(provider: Provider): Readonly<Record<string, unknown>> {
  return {
    id: provider.id,
    name: provider.name,
    category: provider.category,
    docs: provider.docs,
    keyPage: provider.keyPage ?? null,
    environments: Object.fromEntries(
      [...provider.environments].map(([name, environment]) => [name, environment.hosts.map(hostText)]),
    ),
    fields: [...provider.fields.values()].map(({ name, label, secret, hint }) => ({ name, label, secret, hint })),
    auth: provider.auth.map((rule) => rule.scheme),
    rotation: provider.rotation && { ...provider.rotation, class: rotationClass(provider) },
    limits: provider.limits,
    sources: provider.sources,
  };
}
