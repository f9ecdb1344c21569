import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { Secret } from "../secret.ts";
import { CliError, usageError } from "./failure.ts";
import type { Prompter } from "./prompt.ts";

/** Largest input in bytes for all fields together; keys are far shorter. */
const MAX_INPUT_BYTES = 64 * 1024;
const NEWLINE = 0x0a;
const RETURN = 0x0d;

/** A field to be filled, in the order of asking. */
export interface WantedField {
  readonly name: string;
  readonly label: string;
  readonly secret: boolean;
  readonly hint: string | null;
}

export interface SecretSources {
  /** Read every field from stdin. */
  readonly stdin: boolean;
  /** `field=path` arguments. */
  readonly files: readonly string[];
}

export interface SecretDevices {
  readonly input: AsyncIterable<Buffer | string>;
  readonly prompter: Prompter;
}

/**
 * Collects the values of `fields`: from stdin (a single field is the whole input; several are one
 * per line in the order of the fields), from files, or by asking. The caller wipes them.
 * @throws CliError with exit 2 when the sources and the fields do not match.
 */
export async function collectSecrets(
  fields: readonly WantedField[],
  sources: SecretSources,
  devices: SecretDevices,
): Promise<Map<string, Secret>> {
  if (sources.stdin && sources.files.length > 0) throw usageError("--stdin and --file exclude each other");
  if (sources.stdin) return fromStdin(fields, devices.input);
  if (sources.files.length > 0) return fromFiles(fields, sources.files);
  return fromPrompt(fields, devices.prompter);
}

const PASSPHRASE: WantedField = { name: "passphrase", label: "New passphrase", secret: true, hint: null };

/**
 * A new passphrase from stdin, or typed twice. The caller wipes it.
 * @throws CliError when the two differ
 */
export async function newPassphrase(devices: SecretDevices, stdin: boolean): Promise<Secret> {
  if (!stdin && !devices.prompter.interactive) {
    throw new CliError("no terminal to ask at", { nextStep: "give the passphrase with --stdin" });
  }
  const wanted = stdin ? [PASSPHRASE] : [PASSPHRASE, { ...PASSPHRASE, name: "again", label: "The same again" }];
  const typed = await collectSecrets(wanted, { stdin, files: [] }, devices);
  const passphrase = typed.get("passphrase");
  const again = typed.get("again");
  if (passphrase === undefined) throw new CliError("no passphrase was given");
  if (again === undefined) return passphrase;
  const same = passphrase.use((first) => again.use((second) => first.equals(second)));
  again.wipe();
  if (same) return passphrase;
  wipeAll(typed);
  throw new CliError("the two are not the same; nothing was changed");
}

export function wipeAll(secrets: ReadonlyMap<string, Secret>): void {
  for (const secret of secrets.values()) secret.wipe();
}

async function fromStdin(
  fields: readonly WantedField[],
  input: AsyncIterable<Buffer | string>,
): Promise<Map<string, Secret>> {
  const whole = await readAll(input);
  try {
    const body = withoutNewline(whole);
    const lines = fields.length === 1 ? [body] : splitLines(body);
    if (lines.length !== fields.length) {
      throw usageError(
        `stdin has ${lines.length} lines, but ${fields.length} fields are needed`,
        `give one per line in this order: ${fields.map((field) => field.name).join(", ")}`,
      );
    }
    return new Map(fields.map((field, index) => [field.name, Secret.copyOf(lines[index] ?? Buffer.alloc(0))]));
  } finally {
    whole.fill(0);
  }
}

/** Reads to the end into one Buffer of our own and wipes every chunk on the way. */
async function readAll(input: AsyncIterable<Buffer | string>): Promise<Buffer> {
  const own = Buffer.alloc(MAX_INPUT_BYTES);
  let length = 0;
  for await (const chunk of input) {
    if (typeof chunk === "string") throw new CliError("stdin must not be decoded to text");
    const fits = length + chunk.length <= own.length;
    if (fits) own.set(chunk, length);
    chunk.fill(0);
    if (!fits) {
      own.fill(0);
      throw usageError(`stdin is longer than ${MAX_INPUT_BYTES} bytes`, "is it the right file?");
    }
    length += chunk.length;
  }
  return own.subarray(0, length);
}

function fromFiles(fields: readonly WantedField[], files: readonly string[]): Map<string, Secret> {
  const known = fields.map((field) => field.name);
  const paths = new Map(files.map((argument) => splitArgument(argument, known)));
  const missing = known.filter((name) => !paths.has(name));
  if (missing.length > 0) throw usageError(`no --file for ${missing.join(", ")}`, `add --file ${missing[0]}=<path>`);
  const secrets = new Map<string, Secret>();
  try {
    for (const [name, path] of paths) secrets.set(name, readSecretFile(path));
    return secrets;
  } catch (error) {
    wipeAll(secrets);
    throw error;
  }
}

/** Never repeats the argument: somebody may have put the key itself there. */
function splitArgument(argument: string, known: readonly string[]): [string, string] {
  const equals = argument.indexOf("=");
  const name = argument.slice(0, Math.max(0, equals));
  const path = argument.slice(equals + 1);
  if (!known.includes(name) || path === "") {
    throw usageError("--file takes field=path", `the fields are: ${known.join(", ")}`);
  }
  return [name, path];
}

function readSecretFile(path: string): Secret {
  const descriptor = openSync(path, "r");
  const own = Buffer.alloc(MAX_INPUT_BYTES);
  try {
    if (!fstatSync(descriptor).isFile()) throw usageError(`${path} is not a file`, "for a pipe use --stdin");
    const length = readSync(descriptor, own, 0, own.length, 0);
    if (length === own.length) throw usageError(`${path} is longer than ${MAX_INPUT_BYTES} bytes`);
    return Secret.copyOf(withoutNewline(own.subarray(0, length)));
  } finally {
    own.fill(0);
    closeSync(descriptor);
  }
}

async function fromPrompt(fields: readonly WantedField[], prompter: Prompter): Promise<Map<string, Secret>> {
  const secrets = new Map<string, Secret>();
  try {
    for (const field of fields) {
      const label = field.hint === null ? field.label : `${field.label} (${field.hint})`;
      secrets.set(field.name, await prompter.ask(label, { hidden: field.secret }));
    }
    return secrets;
  } catch (error) {
    wipeAll(secrets);
    throw error;
  } finally {
    prompter.close();
  }
}

function withoutNewline(bytes: Buffer): Buffer {
  let end = bytes.length;
  if (end > 0 && bytes[end - 1] === NEWLINE) {
    end -= 1;
    if (end > 0 && bytes[end - 1] === RETURN) end -= 1;
  }
  return bytes.subarray(0, end);
}

function splitLines(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  let start = 0;
  for (let index = 0; index <= bytes.length; index++) {
    if (index < bytes.length && bytes[index] !== NEWLINE) continue;
    const end = index > start && index < bytes.length && bytes[index - 1] === RETURN ? index - 1 : index;
    lines.push(bytes.subarray(start, end));
    start = index + 1;
  }
  return lines;
}
