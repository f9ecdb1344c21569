import type { Command } from "commander";
import { beginAutomaticRotation } from "../../store/automatic-start.ts";
import { assertPace, beginRotation, rollBack, rotateAtOnce } from "../../store/credential-rotation.ts";
import type { Credential } from "../../store/credentials.ts";
import { getRotationPolicy, type RotationPolicy, setRotationPolicy } from "../../store/rotation-policies.ts";
import { getRotation, isUnderWay, type Rotation } from "../../store/rotations.ts";
import type { Vault } from "../../store/vault.ts";
import { type AutomaticOptions, automaticPolicy } from "../automatic-policy.ts";
import type { Cli } from "../cli.ts";
import { collect, withSecretOptions } from "../credential-options.ts";
import { notFound, usageError } from "../failure.ts";
import { confirm, impactOf, showImpact } from "../impact.ts";
import { withVaultChange } from "../open-vault.ts";
import { formatSpan, formatTime, parseSpan, renderFacts } from "../output.ts";
import { type PaceOptions, paceFrom, paceOf, paceText, rotationFacts } from "../rotation-text.ts";
import { collectSecrets, wipeAll } from "../secret-input.ts";
import { checkFields } from "./credential-add.ts";
import { requireVersion } from "./credential-version.ts";
import { requireProvider } from "./provider.ts";

interface RotateOptions extends PaceOptions {
  readonly stdin?: boolean;
  readonly file: readonly string[];
  readonly validate: boolean;
  readonly now?: boolean;
  readonly automatic?: boolean;
}

interface PolicyOptions extends PaceOptions, AutomaticOptions {
  readonly maxAge?: string;
  readonly json?: boolean;
}

const PACE_HELP = {
  steps: "percentages of the clients that get the new key, e.g. 5,25,50,100; 100 for at once",
  every: "how long each step lasts, e.g. 10m",
  grace: "how long the old key stays usable after the last step, e.g. 24h",
};

/** `credential rotate|rotation|promote|rollback`: from one key to the next. */
export function registerCredentialRotate(credential: Command, cli: Cli): void {
  const command = credential
    .command("rotate <name>")
    .description("store a new key and move the traffic to it step by step; --now when the old one leaked");
  withSecretOptions(command)
    .option("--steps <list>", PACE_HELP.steps)
    .option("--every <span>", PACE_HELP.every)
    .option("--grace <span>", PACE_HELP.grace)
    .option("--no-validate", "do not check its shape, and do not try it before clients use it")
    .option("--now", "switch at once and revoke the old key at once")
    .option("--automatic", "let sidekey make the new key at the provider, as `credential rotation` says")
    .action((name: string, options: RotateOptions) =>
      options.automatic === true ? rotateAutomatically(cli, name, options) : rotate(cli, name, options),
    );
  credential
    .command("rotation <name>")
    .description("show or set when and how a credential is to be rotated")
    .option("--max-age <span|none>", "rotate it at this age, e.g. 90d; none: never, whatever its provider's file says")
    .option("--steps <list>", PACE_HELP.steps)
    .option("--every <span>", PACE_HELP.every)
    .option("--grace <span>", PACE_HELP.grace)
    .option("--automatic", "sidekey makes the new key at the provider when it is due")
    .option("--no-automatic", "new keys are stored by hand")
    .option("--admin <name>", "with --automatic: the credential that may make and end keys")
    .option("--set <name=value>", "with --automatic: a setting such as project=proj_1; repeat for more", collect, [])
    .option("--json", "as JSON")
    .action((name: string, options: PolicyOptions) => rotationPolicy(cli, name, options));
  credential
    .command("promote <name> [version]")
    .description("make the pending (or the named) version the current one; the previous one to go back")
    .option("--yes", "do not ask")
    .action((name: string, version: string | undefined, options: { yes?: boolean }) =>
      promote(cli, name, { version, yes: options.yes === true }),
    );
  credential
    .command("rollback <name>")
    .description("back to the version that served before")
    .option("--yes", "do not ask")
    .action((name: string, options: { yes?: boolean }) => rollback(cli, name, options.yes === true));
}

async function rotate(cli: Cli, name: string, options: RotateOptions): Promise<void> {
  const given = paceFrom(options);
  if (options.now === true && Object.keys(given).length > 0) {
    throw usageError("--now has no steps and no grace", "leave --steps, --every and --grace out");
  }
  await withVaultChange(cli, async (vault) => {
    const credential = vault.getCredential(name);
    const provider = requireProvider(cli, credential.provider);
    const fields = [...provider.fields.values()];
    if (options.now !== true) checkFree(vault, credential);
    const pace = paceOf(
      given,
      vault.read((view) => getRotationPolicy(view, credential.id)),
    );
    assertPace(pace);
    showImpact(cli, credential, impactOf(cli, vault, credential));
    const sources = { stdin: options.stdin === true, files: options.file };
    const secrets = await collectSecrets(fields, sources, { input: cli.stdin, prompter: cli.prompter });
    try {
      checkFields(cli, provider, secrets, options.validate);
      if (options.now === true) {
        const done = vault.write((transaction) => rotateAtOnce(transaction, name, secrets, cli.actor));
        return toldAtOnce(cli, done, provider.keyPage, provider.rotation?.note);
      }
      const validate = options.validate && provider.probe !== null;
      const begun = vault.write((transaction) =>
        beginRotation(transaction, name, { pace, validate, fields: secrets }, cli.actor),
      );
      if (options.validate && !validate) {
        cli.terminal.note(`${provider.id} has no probe: the new key is not tried before clients use it`);
      }
      await toldBegun(cli, begun);
    } finally {
      wipeAll(secrets);
    }
  });
}

async function rotateAutomatically(cli: Cli, name: string, options: RotateOptions): Promise<void> {
  if (options.now === true || options.stdin === true || options.file.length > 0) {
    throw usageError("with --automatic sidekey makes the key", "leave --now, --stdin and --file out");
  }
  const given = paceFrom(options);
  await withVaultChange(cli, (vault) => {
    const credential = vault.getCredential(name);
    const policy = vault.read((view) => getRotationPolicy(view, credential.id));
    const { automatic } = policy;
    if (automatic === null) {
      throw usageError(`${name} is not rotated by sidekey itself`, `sidekey credential rotation ${name} --automatic`);
    }
    showImpact(cli, credential, impactOf(cli, vault, credential));
    const wanted = { policy: automatic, pace: paceOf(given, policy) };
    vault.write((transaction) => beginAutomaticRotation(transaction, name, wanted, cli.actor));
  });
  cli.terminal.out(`${name} gets a new key from its provider`);
  cli.terminal.note(`follow it with \`sidekey credential show ${name}\``);
  await warnWithoutDaemon(cli);
}

/** Before anybody is asked for a key: would storing it work? */
function checkFree(vault: Vault, { id, name, state }: Credential): void {
  const rotation = vault.read((view) => getRotation(view, id));
  if (isUnderWay(rotation)) {
    throw usageError(
      `${name} is being rotated already (${rotation.phase})`,
      `see \`sidekey credential show ${name}\`; end it with \`promote\` or \`rollback\`, or add --now when the key leaked`,
    );
  }
  if (state === "disabled") throw usageError(`${name} is disabled`, `sidekey credential enable ${name}`);
}

async function toldBegun(cli: Cli, begun: { credential: Credential; rotation: Rotation }): Promise<void> {
  const { credential, rotation } = begun;
  const { name } = credential;
  const stored = credential.versions.find(({ number }) => number === rotation.to);
  cli.terminal.out(`stored ${name} version ${rotation.to} (${stored?.stage}), fingerprint ${stored?.fingerprint}`);
  const testing = rotation.phase === "testing" ? "it is tried at the provider, then it serves " : "it serves ";
  cli.terminal.out(`  ${testing}${paceText(rotation)}`);
  cli.terminal.note(
    `follow it with \`sidekey credential show ${name}\`, take it back with \`credential rollback ${name}\``,
  );
  await warnWithoutDaemon(cli);
}

async function warnWithoutDaemon(cli: Cli): Promise<void> {
  const running = await cli
    .daemon()
    .status()
    .then(
      () => true,
      () => false,
    );
  if (!running) cli.terminal.warn("no daemon runs here: the rotation goes on when it does (`sidekey up`)");
}

function toldAtOnce(
  cli: Cli,
  done: { credential: Credential; revoked: readonly number[]; left: string | null },
  keyPage: string | undefined,
  note: string | undefined,
): void {
  const { credential, revoked, left } = done;
  const current = credential.versions.find(({ stage }) => stage === "current");
  const gone = revoked.length === 0 ? "there was no older one to revoke" : `version ${revoked.join(", ")} revoked`;
  cli.terminal.out(
    `${credential.name} version ${current?.number} is current, fingerprint ${current?.fingerprint}; ${gone}`,
  );
  cli.terminal.note("a running daemon uses the new key within 1 s; requests under way end with the old one");
  cli.terminal.note(`now revoke the old key at ${keyPage ?? credential.provider}: sidekey can only stop using it`);
  if (note !== undefined) cli.terminal.note(`  ${note}`);
  if (left !== null)
    cli.terminal.warn(`key ${left}, made by the rotation that ends here, is still there; revoke it too`);
  cli.terminal.note(
    "then look for use that was not yours in the provider's log; yours is in `sidekey usage --by client`",
  );
}

async function promote(cli: Cli, name: string, asked: { version: string | undefined; yes: boolean }): Promise<void> {
  const { number, rotation } = await withVaultChange(cli, async (vault) => {
    const credential = vault.getCredential(name);
    const before = vault.read((view) => getRotation(view, credential.id));
    const underWay = isUnderWay(before) ? before.to : null;
    const number =
      asked.version === undefined
        ? (underWay ?? pendingVersion(credential))
        : requireVersion(credential, asked.version);
    showImpact(cli, credential, impactOf(cli, vault, credential));
    await confirm(cli, { yes: asked.yes, question: `make version ${number} of ${name} the current one` });
    vault.promote(name, number, cli.actor);
    return { number, rotation: vault.read((view) => getRotation(view, credential.id)) };
  });
  cli.terminal.out(`${name} version ${number} is current`);
  if (isUnderWay(rotation) && rotation.from !== null) {
    cli.terminal.note(
      `version ${rotation.from} can be gone back to for ${formatSpan(rotation.graceMs)}, then it is revoked`,
    );
  }
}

async function rollback(cli: Cli, name: string, yes: boolean): Promise<void> {
  const number = await withVaultChange(cli, async (vault) => {
    const credential = vault.getCredential(name);
    const rotation = vault.read((view) => getRotation(view, credential.id));
    const previous = isUnderWay(rotation) ? rotation.from : previousVersion(credential);
    showImpact(cli, credential, impactOf(cli, vault, credential));
    await confirm(cli, { yes, question: `go back to version ${previous ?? "-"} of ${name}` });
    if (isUnderWay(rotation)) vault.write((transaction) => rollBack(transaction, name, cli.actor));
    else if (previous !== null) vault.promote(name, previous, cli.actor);
    return previous;
  });
  cli.terminal.out(number === null ? `the rotation of ${name} is ended` : `${name} version ${number} is current`);
}

async function rotationPolicy(cli: Cli, name: string, options: PolicyOptions): Promise<void> {
  const changes: Partial<RotationPolicy> = {
    ...paceFrom(options),
    ...(options.maxAge === undefined ? {} : { maxAgeMs: maxAgeFrom(options.maxAge) }),
  };
  const facts = await withVaultChange(cli, (vault) => {
    const credential = vault.getCredential(name);
    const automatic = automaticPolicy(options, {
      credential,
      provider: requireProvider(cli, credential.provider),
      policy: vault.read((view) => getRotationPolicy(view, credential.id)).automatic,
      find: (other) => vault.listCredentials().find((each) => each.name === other),
    });
    const all = automatic === undefined ? changes : { ...changes, automatic };
    if (Object.keys(all).length > 0) {
      vault.write((transaction) => setRotationPolicy(transaction, name, all, cli.actor));
    }
    return rotationFacts(cli, vault, credential);
  });
  if (options.json === true) return cli.terminal.json({ policy: facts.rotationPolicy, dueAt: facts.rotationDueAt });
  const { maxAgeMs, automatic } = facts.rotationPolicy;
  const age = maxAgeMs === null ? "as its provider's file says" : maxAgeMs === "none" ? "none" : formatSpan(maxAgeMs);
  cli.terminal.out(
    renderFacts([
      ["greatest age", age],
      ["due", formatTime(facts.rotationDueAt)],
      ["pace", paceText(paceOf({}, facts.rotationPolicy))],
      ["new keys", automatic === null ? "stored by hand" : `made by sidekey (${automatic.rotator})`],
    ]),
  );
}

function maxAgeFrom(text: string): number | "none" {
  if (text === "none") return text;
  const ms = parseSpan(text);
  if (ms === null) throw usageError("--max-age takes a span or none", "for example 90d");
  return ms;
}

function pendingVersion(credential: Credential): number {
  const newest = credential.versions.filter((version) => version.stage === "pending").at(-1);
  if (newest !== undefined) return newest.number;
  throw notFound(`${credential.name} has no pending version`, "store one with `sidekey credential add --pending`");
}

function previousVersion(credential: Credential): number {
  const newest = credential.versions.filter((version) => version.stage === "previous").at(-1);
  if (newest !== undefined) return newest.number;
  throw notFound(
    `${credential.name} has no version to go back to`,
    `no rotation is under way and none is \`previous\`; see \`sidekey credential show ${credential.name}\``,
  );
}
