import type { Command } from "commander";
import { type CheckReason, HealthTable, shownState } from "../../daemon/monitor/health.ts";
import { PROBE_TIMEOUT_MS, type ProbeResult, type ProbeSubject, probeFields } from "../../daemon/monitor/probe.ts";
import type { Provider } from "../../providers/schema.ts";
import type { Secret } from "../../secret.ts";
import type { Credential } from "../../store/credentials.ts";
import { type Health, openMonitorStore } from "../../store/monitor.ts";
import type { Cli } from "../cli.ts";
import { CliError, EXIT, notFound, usageError } from "../failure.ts";
import { withVault } from "../open-vault.ts";
import { formatTime } from "../output.ts";
import { requireProvider } from "./provider.ts";

/** It lives inside the daemon: from here there is nobody to ask. */
const DEMO_PROVIDER = "demo";

/** An operator who stores a key waits for this at most, ms. */
const ADD_TIMEOUT_MS = 5_000;

/** `credential validate`: asks the provider now. Exit 0 when the key is accepted, 1 when not or when it cannot be told. */
export function registerCredentialValidate(credential: Command, cli: Cli): void {
  credential
    .command("validate <name> [version]")
    .description("ask the provider now whether it accepts the key of the current (or pending, or named) version")
    .option("--json", "as JSON")
    .action((name: string, version: string | undefined, options: { json?: boolean }) =>
      validate(cli, name, version, options.json === true),
    );
}

async function validate(cli: Cli, name: string, wanted: string | undefined, json: boolean): Promise<void> {
  const { credential, version, result, health } = await withVault(cli, async (vault) => {
    const credential = vault.getCredential(name);
    const version = chooseVersion(credential, wanted);
    const provider = requireProvider(cli, credential.provider);
    const fields = vault.openFields(credential.id, version, "probe");
    try {
      const started = cli.now();
      const result = await ask(cli, provider, credential, fields, PROBE_TIMEOUT_MS);
      return {
        credential,
        version,
        result,
        health: keep(cli, credential, version, result, { reason: "command", started }),
      };
    } finally {
      for (const secret of fields.values()) secret.wipe();
    }
  });
  const accepted = result.meaning === "valid" || result.meaning === "plan";
  if (!accepted) cli.exit(EXIT.failed);
  const state = shownState(credential, health, cli.now());
  const { meaning, status, detail } = result;
  const expiresAt = health?.expiresAt ?? null;
  const checkedAt = health?.checkedAt ?? null;
  if (json) {
    cli.terminal.json({ name, version, meaning, state, status, detail, expiresAt, checkedAt });
    return;
  }
  cli.terminal.out(`${name} version ${version}: ${VERDICTS[meaning]}`);
  cli.terminal.out(`  ${detail}`);
  if (expiresAt !== null) cli.terminal.out(`  expires ${formatTime(expiresAt)}, says the provider`);
}

const VERDICTS: Readonly<Record<ProbeResult["meaning"], string>> = {
  valid: "valid",
  plan: "valid, but its plan is too small for the check",
  invalid: "INVALID",
  forbidden: "FORBIDDEN",
  limited: "could not be told, the provider limits requests now",
  unknown: "could not be told",
};

function chooseVersion(credential: Credential, wanted: string | undefined): number {
  const { name, versions } = credential;
  if (wanted === undefined) {
    const chosen =
      versions.find(({ stage }) => stage === "current") ?? versions.findLast(({ stage }) => stage === "pending");
    if (chosen) return chosen.number;
    throw new CliError(`${name} has no current and no pending version`, {
      nextStep: "name one, see `sidekey credential show`",
    });
  }
  if (!/^[1-9]\d{0,8}$/.test(wanted))
    throw usageError("the version is a number", `see \`sidekey credential show ${name}\``);
  const found = versions.find(({ number }) => number === Number(wanted));
  if (!found) throw notFound(`${name} has no version ${wanted}`, `see \`sidekey credential show ${name}\``);
  return found.number;
}

/**
 * What the provider says about a key that is about to be stored.
 * @throws CliError when it does not accept the key
 */
export async function validateNew(
  cli: Cli,
  provider: Provider,
  subject: ProbeSubject,
  secrets: ReadonlyMap<string, Secret>,
): Promise<ProbeResult | null> {
  if (provider.probe === null || provider.id === DEMO_PROVIDER) return null;
  const result = await ask(cli, provider, subject, secrets, ADD_TIMEOUT_MS);
  if (result.meaning === "invalid") {
    const where = provider.keyPage === undefined ? "" : ` (keys are made at ${provider.keyPage})`;
    throw new CliError(`${provider.id} does not accept this key: ${result.detail}`, {
      nextStep: `is it the right key${where}? store it anyway with --no-validate`,
    });
  }
  if (result.meaning === "valid") cli.terminal.note(`checked: ${result.detail}`);
  else cli.terminal.warn(`stored unchecked: ${result.detail}`);
  return result;
}

async function ask(
  cli: Cli,
  provider: Provider,
  subject: ProbeSubject,
  fields: ReadonlyMap<string, Secret>,
  timeoutMs: number,
): Promise<ProbeResult> {
  if (provider.id === DEMO_PROVIDER) {
    const detail = "the demo provider answers inside the daemon only";
    return { meaning: "unknown", status: null, detail, expiresAt: null };
  }
  // Only here: the HTTP library takes longer to load than most commands run.
  const { openCalls } = await import("../../daemon/monitor/call-provider.ts");
  const calls = openCalls(cli.config());
  try {
    return await probeFields(calls.call, provider, subject, fields, { timeoutMs, private: [] });
  } finally {
    await calls.close();
  }
}

/** Writes a result where the daemon and `credential show` find it. What cannot be written is only a warning. */
export function keep(
  cli: Cli,
  credential: Pick<Credential, "id" | "name">,
  version: number,
  result: ProbeResult,
  check: { readonly reason: CheckReason; readonly started: number },
): Health | undefined {
  const failed = (error: unknown): void => {
    const why = error instanceof Error ? error.message : "monitor.db could not be used";
    cli.terminal.warn(`the result is not kept: ${why}`);
  };
  try {
    const store = openMonitorStore(cli.config().dataDir);
    try {
      const table = new HealthTable(store, failed);
      const nextAt = table.get(credential.id, version)?.nextAt ?? null;
      return table.settle(credential, version, result, { ...check, nextAt });
    } finally {
      store.close();
    }
  } catch (error) {
    failed(error);
    return undefined;
  }
}

/** An operator who enables a credential vouches for it: what a check found before no longer keeps it out of use. */
export function forgive(cli: Cli, credential: Pick<Credential, "id">): void {
  const store = openMonitorStore(cli.config().dataDir);
  try {
    store.forgetHealth(credential.id);
  } finally {
    store.close();
  }
}
