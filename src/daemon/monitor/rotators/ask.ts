import { type InjectionPlan, planFor, renderSecret, selectAuth } from "../../../providers/auth/plan.ts";
import { JsonBytes, JsonBytesError } from "../../../providers/json-bytes.ts";
import type { Provider } from "../../../providers/schema.ts";
import type { Secret } from "../../../secret.ts";
import { CallError, type CallProvider, type ProviderAnswer } from "../provider-call.ts";
import { type Fields, RotatorError } from "./rotator.ts";

/** Longest time that one call may take. */
const CALL_MS = 30_000;
/** More than a provider may ask us to wait, in ms. */
const LONGEST_WAIT_MS = 24 * 3_600_000;
const KEY_ID = /^[A-Za-z0-9_.:/-]{1,200}$/;

/** A credential with one of its versions opened: who asks, and where its key may go. */
export interface KeyHolder {
  readonly name: string;
  readonly provider: Provider;
  /** `host:port` that the credential is bound to. */
  readonly hosts: ReadonlySet<string>;
  /** Wiped by whoever opened them. */
  readonly fields: Fields;
  readonly call: CallProvider;
  /** ms since the epoch, for signatures and dates. */
  readonly now: () => number;
}

export interface Question {
  readonly host: string;
  readonly method: string;
  readonly path: string;
  /** Becomes the JSON body; never holds a secret. */
  readonly json?: Readonly<Record<string, unknown>>;
  /** A body with its content type; wiped afterwards. */
  readonly body?: { readonly type: string; readonly bytes: Buffer };
  /** Instead of the fields that the provider's auth rule gives: a signature. */
  readonly fields?: readonly (readonly [string, string])[];
}

/**
 * Sends one request with `holder`'s key in the place where its provider takes it, to a host that the key is bound to.
 * @throws RotatorError `permanent` for a host that it is not bound to, `retry` when no answer comes
 */
export async function ask(holder: KeyHolder, question: Question): Promise<ProviderAnswer> {
  const { host, method, path } = question;
  if (!holder.hosts.has(`${host}:443`)) {
    throw new RotatorError(
      "permanent",
      `credential "${holder.name}" is not bound to ${host}, so its key is not sent there; store it again for an environment with that host`,
    );
  }
  const keyed = question.fields === undefined ? keyedFields(holder, question) : null;
  const body =
    question.body?.bytes ?? (question.json === undefined ? null : Buffer.from(JSON.stringify(question.json)));
  const fields: (readonly [string, string])[] = [["accept", "application/json"]];
  if (body !== null) fields.push(["content-type", question.body?.type ?? "application/json"]);
  fields.push(...(keyed?.fields ?? question.fields ?? []));
  try {
    const secrets = keyed?.secrets ?? new Map<string, Secret>();
    return await holder.call({ host, port: 443, method, path, fields, body, secrets, timeoutMs: CALL_MS });
  } catch (error) {
    if (!(error instanceof CallError)) throw error;
    throw new RotatorError("retry", error.message);
  } finally {
    for (const secret of keyed?.secrets.values() ?? []) secret.wipe();
    body?.fill(0);
  }
}

/** The holder's key as its provider's file says, each secret under a name that the call replaces at the socket. */
function keyedFields(
  { name, provider, fields }: KeyHolder,
  { host, method, path }: Question,
): { fields: [string, string][]; secrets: Map<string, Secret> } {
  const plan: InjectionPlan = planFor(selectAuth(provider, { host, method, path: path.split("?")[0] ?? path }));
  if (plan.headers.length === 0 || plan.query.length > 0 || plan.body !== null) {
    throw new RotatorError(
      "permanent",
      `provider ${provider.id} of credential "${name}" does not take its key in a header of ${host}; correct its file`,
    );
  }
  const secrets = new Map<string, Secret>();
  const headers = plan.headers.map((place, index): [string, string] => {
    secrets.set(`key_${index}`, renderSecret(place.render, fields));
    return [place.name, `${place.prefix}{key_${index}}${place.suffix}`];
  });
  return { fields: [...headers, ...provider.requestHeaders], secrets };
}

/**
 * What an answer other than the wanted one means for a step that made or ended a key. The message names what was
 * asked, never what was answered.
 */
export function refusal(holder: KeyHolder, answer: ProviderAnswer, doing: string): RotatorError {
  const { status } = answer;
  const { name } = holder;
  const refused = status >= 400 && status < 500 && status !== 408;
  if (status === 408 || status === 409 || status === 425 || status === 429 || status >= 500) {
    const retryAfterMs = retryAfter(answer, holder.now());
    return new RotatorError("retry", `${doing}: the provider answered ${status}`, { retryAfterMs, refused });
  }
  return new RotatorError("permanent", `${doing}: ${whyNot(status, name)}`, { refused });
}

function whyNot(status: number, name: string): string {
  if (status === 401) {
    return `credential "${name}" was refused (401); give it a working key with \`sidekey credential rotate ${name}\``;
  }
  if (status === 403) {
    return `credential "${name}" has no right to do this (403); give it the right at the provider`;
  }
  if (status === 404) {
    return "the provider does not know the place (404); check the settings with `sidekey credential rotation`";
  }
  return `the provider answered ${status}; see its documentation, then try again`;
}

/** Milliseconds that Retry-After asks for (RFC 9110 section 10.2.3), at most a day; null without a usable one. */
export function retryAfter({ headers }: ProviderAnswer, nowMs: number): number | null {
  const value = headers.get("retry-after")?.trim() ?? "";
  const seconds = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : null;
  // Date.parse reads almost anything as a date.
  const date = /^[A-Z][a-z]{2}, .* GMT$/.test(value) ? Date.parse(value) - nowMs : Number.NaN;
  const ms = seconds ?? date;
  if (Number.isNaN(ms)) return null;
  return Math.min(LONGEST_WAIT_MS, Math.max(0, ms));
}

/** Reads an answer as JSON and wipes it afterwards. @throws RotatorError `retry` when it is not JSON */
export function readJson<T>(answer: ProviderAnswer, doing: string, read: (json: JsonBytes) => T): T {
  try {
    return read(JsonBytes.parse(answer.body));
  } catch (error) {
    if (!(error instanceof JsonBytesError)) throw error;
    throw new RotatorError("retry", `${doing}: ${error.message}`);
  } finally {
    answer.body.fill(0);
  }
}

/**
 * A key out of an answer. An id that is no id, or that holds the key or a part of it, is refused: ids are written to
 * the audit log.
 * @throws RotatorError; the secret is wiped then
 */
export function minted(field: string, secret: Secret | null, keyId: string | null, doing: string) {
  const refuse = (why: string): never => {
    secret?.wipe();
    throw new RotatorError("retry", `${doing}: ${why}`);
  };
  if (secret === null || keyId === null) return refuse("the answer has no new key");
  if (!isPlausible(secret)) return refuse("what the answer calls a key is none");
  if (!KEY_ID.test(keyId) || overlaps(secret, keyId)) return refuse("the answer has no usable id for the new key");
  return { fields: new Map([[field, secret]]), keyId };
}

/** 16 to 4096 characters that any header can carry. */
export function isPlausible(secret: Secret): boolean {
  return secret.use(
    (bytes) => bytes.length >= 16 && bytes.length <= 4096 && bytes.every((byte) => byte > 0x20 && byte < 0x7f),
  );
}

function overlaps(secret: Secret, keyId: string): boolean {
  return secret.use((bytes) => bytes.includes(keyId) || Buffer.from(keyId).includes(bytes));
}

/** One path segment out of a setting or an id. */
export function segment(text: string): string {
  return encodeURIComponent(text);
}

/** Wipes an answer that nobody reads. */
export function discard(answer: ProviderAnswer): ProviderAnswer {
  answer.body.fill(0);
  return answer;
}

/** Follows a list over its pages; stops after `MAX_PAGES`, which is more keys than anybody keeps. */
export async function eachPage(read: (page: string | null) => Promise<string | null>): Promise<void> {
  let next: string | null = null;
  for (let page = 0; page < MAX_PAGES; page++) {
    next = await read(next);
    if (next === null) return;
  }
  throw new RotatorError("permanent", `the provider lists more than ${MAX_PAGES} pages of keys; remove old ones there`);
}

const MAX_PAGES = 50;

/** The setting, which was checked when it was stored. */
export function setting(settings: Readonly<Record<string, string>>, name: string): string {
  const value = settings[name];
  if (value === undefined) {
    throw new RotatorError(
      "permanent",
      `the setting "${name}" is missing; \`sidekey credential rotation <name> --automatic --set ${name}=...\``,
    );
  }
  return value;
}
