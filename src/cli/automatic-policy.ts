import { ROTATORS } from "../daemon/monitor/rotators/known-rotators.ts";
import type { Rotator } from "../daemon/monitor/rotators/rotator.ts";
import type { Provider } from "../providers/schema.ts";
import type { Credential } from "../store/credentials.ts";
import type { AutomaticPolicy } from "../store/rotation-policies.ts";
import { usageError } from "./failure.ts";

/** What `credential rotation` was given about keys that sidekey makes itself. */
export interface AutomaticOptions {
  /** `--automatic` is true, `--no-automatic` false. */
  readonly automatic?: boolean | undefined;
  readonly admin?: string | undefined;
  /** Each `name=value`. */
  readonly set: readonly string[];
}

/** What the options are checked against. */
export interface AutomaticSubject {
  readonly credential: Credential;
  readonly provider: Provider;
  /** As it is stored now. */
  readonly policy: AutomaticPolicy | null;
  /** Undefined when there is none of this name. */
  readonly find: (name: string) => Credential | undefined;
}

/**
 * The part of the rotation policy that the options ask for; undefined when they ask for no change. Settings that are
 * not named again stay.
 * @throws CliError with exit 2, naming the option and the next step
 */
export function automaticPolicy(
  options: AutomaticOptions,
  subject: AutomaticSubject,
): AutomaticPolicy | null | undefined {
  const { credential, provider, policy } = subject;
  const named = options.admin !== undefined || options.set.length > 0;
  if (options.automatic === false) {
    if (named) throw usageError("--no-automatic takes neither --admin nor --set", "leave them out");
    return null;
  }
  if (options.automatic !== true && !named) return undefined;
  const rotator = rotatorOf(provider);
  if (options.automatic !== true && policy === null) {
    throw usageError(`${credential.name} is not rotated by sidekey itself`, "add --automatic to switch that on");
  }
  const admin = options.admin ?? policy?.admin ?? null;
  checkAdmin(rotator, admin, subject);
  return { rotator: rotator.id, admin, settings: settingsFrom(rotator, options.set, policy?.settings ?? {}) };
}

function rotatorOf({ id, rotation }: Provider): Rotator {
  const rotator = rotation?.rotator === undefined ? undefined : ROTATORS.get(rotation.rotator);
  if (rotator !== undefined) return rotator;
  const note = rotation?.note === undefined ? "" : ` (${rotation.note})`;
  throw usageError(
    `sidekey cannot make keys of ${id} itself${note}`,
    "set --max-age to be reminded, then store a new key with `sidekey credential rotate`",
  );
}

function checkAdmin(rotator: Rotator, admin: string | null, { credential, find }: AutomaticSubject): void {
  if (admin === null || admin === credential.name) {
    if (rotator.selfService) return;
    throw usageError(
      `keys of ${credential.provider} are made with another credential, one of ${rotator.admin}`,
      `store it with \`sidekey credential add ${rotator.admin}\`, then name it with --admin`,
    );
  }
  const found = find(admin);
  if (found === undefined)
    throw usageError(`--admin: there is no credential "${admin}"`, "see `sidekey credential list`");
  if (found.provider === rotator.admin) return;
  throw usageError(
    `--admin: credential "${admin}" is one of ${found.provider}, which makes no keys of ${credential.provider}`,
    rotator.admin === null ? "leave --admin out: the key makes its successor itself" : `name one of ${rotator.admin}`,
  );
}

function settingsFrom(
  rotator: Rotator,
  given: readonly string[],
  stored: Readonly<Record<string, string>>,
): Record<string, string> {
  const settings: Record<string, string> = { ...stored };
  const known = Object.entries(rotator.settings).map(([name, { what }]) => `${name} (${what})`);
  for (const text of given) {
    const at = text.indexOf("=");
    const name = text.slice(0, Math.max(0, at));
    const value = text.slice(at + 1);
    const setting = Object.hasOwn(rotator.settings, name) ? rotator.settings[name] : undefined;
    // The text is not repeated: somebody may have typed a key here.
    if (setting === undefined) {
      throw usageError("--set takes name=value with a known name", `known: ${known.join(", ") || "none"}`);
    }
    if (!setting.pattern.test(value)) throw usageError(`--set ${name}: this is not ${setting.what}`, "check it");
    settings[name] = value;
  }
  const missing = Object.entries(rotator.settings).find(([name, { required }]) => required && !(name in settings));
  if (missing === undefined) return settings;
  throw usageError(`--set ${missing[0]} is missing`, `add --set ${missing[0]}=..., ${missing[1].what}`);
}
