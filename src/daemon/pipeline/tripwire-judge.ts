import type { Carried } from "../../providers/carriers.ts";
import { Secret, secretBuffer } from "../../secret.ts";
import { KEY_BYTES, randomBytes, sha256 } from "../../store/crypto.ts";
import type { KnownValue, KnownValues } from "../../store/known-values.ts";

/** A credential with more fields than this is not sent in the places of one request. */
const MAX_FIELDS = 3;
/** Fingerprints that one request may cost. */
const MAX_FINGERPRINTS = 48;
/** Fingerprints that one client may cost in a second; in a row a few more. Who sends that many values is guessing. */
const PER_SECOND = 50;
const BURST = 100;
/** Judgements that are remembered, so that a client that sends the same again and again costs one digest each time. */
const MAX_REMEMBERED = 1_000;
/** Clients whose allowance is kept. */
const MAX_CLIENTS = 1_000;

/** A string that a client sent where a key belongs. */
export interface Shown {
  readonly place: Carried["place"] | "body";
  readonly name: string;
  readonly value: string;
}

export interface JudgeDeps {
  /** Null while the vault is sealed; so is the next. */
  readonly values: () => KnownValues | null;
  readonly fingerprint: (fields: ReadonlyMap<string, Secret>) => string | null;
}

export interface Seen {
  readonly shown: Shown;
  readonly value: KnownValue | null;
}

/** Null: it is no stored value. `unjudged`: the vault is sealed, or this client has sent too many different values. */
export type Judge = (shown: readonly Shown[], client: string, nowMs: number) => Seen | null | "unjudged";

/** Compares what was shown with what is stored, by keyed fingerprints; bounded in memory and in work per client. */
export function createJudge({ values, fingerprint }: JudgeDeps): Judge {
  const key = randomBytes(KEY_BYTES).toString("base64");
  const allowance = new Allowance();
  /** By keyed digest of what was shown: index of the value in question, and whose it is. */
  const remembered = new Map<string, Verdict | null>();
  let of: KnownValues | null = null;
  return (shown, client, nowMs) => {
    const known = values();
    if (known !== of) remembered.clear();
    of = known;
    if (known === null) return "unjudged";
    const digest = digestOf(key, shown);
    const before = remembered.get(digest);
    if (before !== undefined) return seenAt(shown, before);
    const tries = selections(shown.length, known.layouts);
    if (!allowance.take(client, tries.length, nowMs)) return "unjudged";
    const verdict = knownAmong(shown, tries, known, fingerprint);
    if (verdict === "unjudged") return verdict;
    if (remembered.size >= MAX_REMEMBERED) for (const oldest of remembered.keys()) if (remembered.delete(oldest)) break;
    remembered.set(digest, verdict);
    return seenAt(shown, verdict);
  };
}

interface Verdict {
  readonly at: number;
  readonly value: KnownValue;
}

function seenAt(shown: readonly Shown[], verdict: Verdict | null): Seen | null {
  const found = verdict && shown[verdict.at];
  return found ? { shown: found, value: verdict.value } : null;
}

/**
 * Tells values apart without keeping them. The key goes in front, not into an HMAC, which takes ten times as long:
 * nobody sees these digests. No value holds a line break, so two lists cannot read the same.
 */
function digestOf(key: string, shown: readonly Shown[]): string {
  let text = key;
  for (const { value } of shown) text += `\n${value}`;
  return sha256(text).toString("latin1");
}

interface Selection {
  readonly layout: readonly string[];
  /** Which of the values shown stands for which field. */
  readonly picks: readonly number[];
}

/** Every way in which so many values could be the fields of a stored credential, at most `MAX_FINGERPRINTS`. */
function selections(count: number, layouts: KnownValues["layouts"]): Selection[] {
  const tries: Selection[] = [];
  for (const layout of layouts) {
    if (layout.length > Math.min(MAX_FIELDS, count)) break;
    for (const picks of arrangements(count, layout.length)) {
      if (tries.length >= MAX_FINGERPRINTS) return tries;
      tries.push({ layout, picks });
    }
  }
  return tries;
}

function arrangements(count: number, length: number): number[][] {
  let lists: number[][] = [[]];
  for (let n = 0; n < length; n++) {
    lists = lists.flatMap((list) =>
      Array.from({ length: count }, (_, at) => at)
        .filter((at) => !list.includes(at))
        .map((at) => [...list, at]),
    );
  }
  return lists;
}

/** The first stored value among what was shown, a honeytoken before all others. */
function knownAmong(
  shown: readonly Shown[],
  tries: readonly Selection[],
  known: KnownValues,
  fingerprint: JudgeDeps["fingerprint"],
): Verdict | null | "unjudged" {
  const secrets = shown.map(({ value }) => asSecret(value));
  let first: Verdict | null = null;
  try {
    for (const { layout, picks } of tries) {
      const fields = new Map<string, Secret>();
      layout.forEach((name, field) => {
        const secret = secrets[picks[field] ?? -1];
        if (secret) fields.set(name, secret);
      });
      const print = fingerprint(fields);
      if (print === null) return "unjudged";
      const value = known.find(print);
      if (value === null) continue;
      if (value.honeytoken) return { at: picks[0] ?? 0, value };
      first ??= { at: picks[0] ?? 0, value };
    }
    return first;
  } finally {
    for (const secret of secrets) secret.wipe();
  }
}

/** The caller wipes it. @param value characters of one byte each */
export function asSecret(value: string): Secret {
  const bytes = secretBuffer(value.length);
  bytes.write(value, "latin1");
  return Secret.adopt(bytes);
}

/** What each client may cost. Who has used it up is looked at again in a second. */
class Allowance {
  readonly #left = new Map<string, { tokens: number; atMs: number }>();

  take(client: string, cost: number, nowMs: number): boolean {
    const own = this.#left.get(client) ?? this.#begin(client, nowMs);
    const passed = Math.max(0, nowMs - own.atMs);
    own.tokens = Math.min(BURST, own.tokens + (passed * PER_SECOND) / 1000);
    own.atMs = nowMs;
    if (own.tokens < cost) return false;
    own.tokens -= cost;
    return true;
  }

  #begin(client: string, nowMs: number): { tokens: number; atMs: number } {
    if (this.#left.size >= MAX_CLIENTS) this.#left.clear();
    const own = { tokens: BURST, atMs: nowMs };
    this.#left.set(client, own);
    return own;
  }
}
