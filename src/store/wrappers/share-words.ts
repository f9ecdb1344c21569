import { Secret, secretBuffer } from "../../secret.ts";
import { constantTimeEqual, KEY_BYTES, sha256 } from "../crypto.ts";
import { UnlockError } from "../errors.ts";
import { joinBytes } from "../join-bytes.ts";
import { WORDS } from "./word-list.ts";

/*
 * A share on paper: u8 version | 4 bytes set | u8 threshold | u8 number | 32 bytes value | 3 bytes checksum, one word
 * for each byte. The words are never one string: a share is a secret.
 */

export interface Share {
  /** of the set that was split together: 8 hex digits */
  readonly set: string;
  readonly threshold: number;
  readonly number: number;
  /** 32 bytes; the owner wipes it */
  readonly value: Secret;
}

const VERSION = 1;
const SET_BYTES = 4;
const HEAD_BYTES = 1 + SET_BYTES + 2;
const BODY_BYTES = HEAD_BYTES + KEY_BYTES;
const CHECKSUM_BYTES = 3;
const WORDS_PER_LINE = 6;
const COMMITMENT_DOMAIN = "sidekey share v1\n";
const WORD_BYTES = WORDS.map((word) => Buffer.from(word, "ascii"));

/** Words of one share. */
export const SHARE_WORDS = BODY_BYTES + CHECKSUM_BYTES;

/** The share in words, seven lines of six. The caller wipes it. */
export function shareInWords(share: Share): Secret {
  const body = bodyOf(share);
  const sum = sha256(body);
  const bytes = joinBytes([body, sum.subarray(0, CHECKSUM_BYTES)]);
  const parts: (Buffer | string)[] = [];
  bytes.forEach((byte, index) => {
    const last = (index + 1) % WORDS_PER_LINE === 0 || index === SHARE_WORDS - 1;
    parts.push(WORD_BYTES[byte] ?? Buffer.alloc(0), last ? "\n" : " ");
  });
  const text = Secret.adopt(joinBytes(parts));
  // The order of the words is the secret.
  parts.fill("");
  for (const used of [body, sum, bytes]) used.fill(0);
  return text;
}

/** What the stanza keeps of a share, so that a wrong one is known by its number: hex, and no help to find the share. */
export function shareCommitment(share: Share): string {
  const body = bodyOf(share);
  const bytes = joinBytes([COMMITMENT_DOMAIN, body]);
  const digest = sha256(bytes).toString("hex");
  for (const used of [body, bytes]) used.fill(0);
  return digest;
}

function bodyOf({ set, threshold, number, value }: Share): Buffer {
  const head = Uint8Array.of(VERSION, ...Buffer.from(set, "hex"), threshold, number);
  return joinBytes([head, value]);
}

/** How many words are in what was typed so far. */
export function countWords(text: Uint8Array): number {
  return wordsOf(text).length;
}

/** Text with several shares one after another, cut into shares. The caller wipes them. */
export function cutShares(text: Uint8Array): Secret[] {
  const words = wordsOf(text);
  const shares: Secret[] = [];
  for (let at = 0; at < words.length; at += SHARE_WORDS) {
    shares.push(Secret.adopt(joinBytes(words.slice(at, at + SHARE_WORDS).flatMap((word) => [word, " "]))));
  }
  return shares;
}

/** Runs of letters; whatever is between them (spaces, line breaks, numbers) separates. Windows on `text`. */
function wordsOf(text: Uint8Array): Uint8Array[] {
  const words: Uint8Array[] = [];
  let start = -1;
  for (let at = 0; at <= text.length; at++) {
    const isLetter = at < text.length && isAsciiLetter(text[at] ?? 0);
    if (isLetter && start < 0) start = at;
    if (isLetter || start < 0) continue;
    words.push(text.subarray(start, at));
    start = -1;
  }
  return words;
}

function isAsciiLetter(byte: number): boolean {
  return (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a;
}

/**
 * Reads a share back, in any case and with any space between the words. The caller wipes the value.
 * @param which how messages call it, such as "the second share"; no word of it is repeated
 * @throws UnlockError bad_share
 */
export function parseShare(text: Uint8Array, which: string): Share {
  const words = wordsOf(text);
  if (words.length !== SHARE_WORDS) {
    throw badShare(`${which} has ${words.length} words, not ${SHARE_WORDS}; type all of them`);
  }
  const bytes = secretBuffer(SHARE_WORDS);
  try {
    words.forEach((word, index) => {
      bytes[index] = byteOf(word) ?? unknownWord(which, index + 1);
    });
    const body = bytes.subarray(0, BODY_BYTES);
    const sum = sha256(body).subarray(0, CHECKSUM_BYTES);
    if (!constantTimeEqual(sum, bytes.subarray(BODY_BYTES))) {
      throw badShare(`${which} has a mistyped or missing word: its checksum is wrong; compare it with the paper`);
    }
    if (body[0] !== VERSION) throw badShare(`${which} is of a newer version of sidekey`);
    const set = body.toString("hex", 1, 1 + SET_BYTES);
    const [threshold = 0, number = 0] = body.subarray(1 + SET_BYTES);
    return { set, threshold, number, value: Secret.copyOf(body.subarray(HEAD_BYTES)) };
  } finally {
    bytes.fill(0);
  }
}

function byteOf(word: Uint8Array): number | null {
  const index = WORD_BYTES.findIndex(
    (known) => known.length === word.length && known.every((byte, at) => byte === ((word[at] ?? 0) | 0x20)),
  );
  return index < 0 ? null : index;
}

function unknownWord(which: string, position: number): never {
  throw badShare(`${which}: word ${position} is not in the list of share words; compare it with the paper`);
}

function badShare(message: string): UnlockError {
  return new UnlockError("bad_share", message);
}
