import { Secret } from "../../secret.ts";
import { canonicalJson } from "../canonical.ts";
import { KEY_BYTES, randomBytes } from "../crypto.ts";
import { UnlockError } from "../errors.ts";
import { keyName, wrappingKey } from "./key-bytes.ts";
import { type Opener, parseParams, type Timed } from "./opener.ts";
import { combinePoints, MOST_SHARES, splitSecret } from "./secret-sharing.ts";
import { parseShare, type Share, shareCommitment, shareInWords } from "./share-words.ts";

/** What a person is told before being asked for shares. */
export interface ShareSet {
  /** 8 hex digits, also in every share */
  readonly set: string;
  readonly threshold: number;
  readonly count: number;
}

/** `read` asks for shares in words, at least as many as the threshold; the store wipes them. */
export interface SharesUnlocker extends Timed {
  readonly kind: "shares";
  readonly read: (set: ShareSet) => Promise<readonly Secret[]>;
}

/** A wrapping key, split. `shares` are in words, in the order of their numbers; the caller wipes all secrets. */
export interface NewShareSet {
  readonly params: string;
  readonly key: Secret;
  readonly shares: readonly Secret[];
}

/** Fewer than two shares is a key on paper, not a shared one. */
const LEAST_THRESHOLD = 2;

/** Splits a new random key. @throws UnlockError malformed when there can be no such set */
export function newShareSet({ threshold, count }: { threshold: number; count: number }): NewShareSet {
  if (!(threshold >= LEAST_THRESHOLD && threshold <= count && count <= MOST_SHARES)) {
    const text = `${threshold} of ${count} shares cannot be made; the threshold is at least ${LEAST_THRESHOLD} and at most the count, the count at most ${MOST_SHARES}`;
    throw new UnlockError("malformed", text);
  }
  const set = randomBytes(4).toString("hex");
  const key = Secret.adopt(randomBytes(KEY_BYTES));
  const values = key.use((bytes) => splitSecret(bytes, { threshold, count }, randomBytes));
  const shares = values.map((value, index) => ({ set, threshold, number: index + 1, value: Secret.adopt(value) }));
  const commitments = shares.map(shareCommitment);
  const made = {
    params: canonicalJson({ commitments, key: keyName(key), set, threshold }),
    key: wrappingKey(key),
    shares: shares.map(shareInWords),
  };
  key.wipe();
  for (const share of shares) share.value.wipe();
  return made;
}

/** @throws UnlockError malformed when the params are not those of shares */
export function shareSetOf(params: string): ShareSet & { readonly key: string; readonly commitments: string[] } {
  const { commitments, key, set, threshold } = parseParams(params);
  const isList = Array.isArray(commitments) && commitments.every((one): one is string => typeof one === "string");
  if (isList && typeof key === "string" && typeof set === "string" && typeof threshold === "number") {
    if (threshold >= 1 && threshold <= commitments.length && commitments.length <= MOST_SHARES) {
      return { commitments, key, set, threshold, count: commitments.length };
    }
  }
  throw new UnlockError("malformed", "the vault's shares wrapper was changed; restore a backup");
}

export async function openShares({ read }: SharesUnlocker): Promise<Opener> {
  return {
    keyOf: async ({ params }) => {
      const { commitments: _, key: __, ...asked } = shareSetOf(params);
      const texts = await read(asked);
      try {
        return combine(params, texts);
      } finally {
        for (const text of texts) text.wipe();
      }
    },
    newKey: () => {
      const text = "shares are made when they can be written down: `sidekey vault shares split`";
      return Promise.reject(new UnlockError("malformed", text));
    },
    mismatch: new UnlockError("wrong_key", "the vault's shares wrapper was changed; restore a backup"),
    wipe: () => undefined,
  };
}

/** @throws UnlockError bad_share, wrong_set, duplicate_share or too_few_shares */
function combine(params: string, texts: readonly Secret[]): Secret {
  const { threshold, key: name } = shareSetOf(params);
  const shares: Share[] = [];
  try {
    texts.forEach((text, index) => {
      shares.push(checkShare(params, text, `share ${index + 1} of those given`));
    });
    assertDifferent(shares);
    if (shares.length < threshold) {
      const numbers = shares.map(({ number }) => number).join(", ");
      const good = numbers === "" ? "" : ` (number ${numbers})`;
      throw new UnlockError(
        "too_few_shares",
        `${shares.length} of ${threshold} needed shares were given${good}; add more`,
      );
    }
    const points = shares
      .slice(0, threshold)
      .map(({ number, value }) => ({ x: number, y: value.use((bytes) => bytes) }));
    const key = Secret.adopt(combinePoints(points));
    const wrapping = keyName(key) === name ? wrappingKey(key) : null;
    key.wipe();
    if (wrapping !== null) return wrapping;
    throw new UnlockError("malformed", "the vault's shares wrapper was changed; restore a backup");
  } finally {
    for (const share of shares) share.value.wipe();
  }
}

/**
 * One share against the stanza: it is read, of the right set, and the very one that was made. The caller wipes its value.
 * @throws UnlockError bad_share or wrong_set, which name the share
 */
export function checkShare(params: string, text: Secret, which: string): Share {
  const { set, commitments } = shareSetOf(params);
  const share = text.use((bytes) => parseShare(bytes, which));
  if (share.set !== set) {
    share.value.wipe();
    throw new UnlockError(
      "wrong_set",
      `${which} (number ${share.number}) is of the set ${share.set}, the vault's is ${set}`,
    );
  }
  if (shareCommitment(share) === commitments[share.number - 1]) return share;
  share.value.wipe();
  throw new UnlockError(
    "bad_share",
    `${which} says it is number ${share.number}, but it is not the one that was made; it was altered`,
  );
}

function assertDifferent(shares: readonly Share[]): void {
  const seen = new Set<number>();
  for (const { number } of shares) {
    if (seen.has(number)) {
      throw new UnlockError(
        "duplicate_share",
        `share number ${number} was given twice; it counts once, give another one`,
      );
    }
    seen.add(number);
  }
}
