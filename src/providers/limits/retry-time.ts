import { JsonBytes, JsonBytesError } from "../json-bytes.ts";
import { type AnswerClock, type LimitFields, type LimitWindow, ourTime } from "./limit-window.ts";
import { goDuration, httpDate, plainNumber, type ToldTime, toldTime } from "./told-time.ts";

/** No answer holds a credential for longer than this at once, whatever it asks for. */
export const MAX_HOLD_MS = 3_600_000;
/** How much of an answer's body is read, in bytes. */
export const MAX_BODY_BYTES = 16 * 1024;
const MAX_DETAILS = 32;

/** When a provider wants to be asked again. */
export interface RetryTime {
  /** Milliseconds since the epoch, on our clock. */
  readonly retryAtMs: number;
  /** It asked for more than `MAX_HOLD_MS`. */
  readonly capped: boolean;
}

/**
 * Reads it from `retry-after-ms`, `Retry-After` (RFC 9110 section 10.2.3), and for a 429 from its body and from the
 * reset of what is used up.
 * @param body first bytes of the body, decoded; null when they are not known
 * @returns null when the answer does not say
 */
export function retryTime(
  answer: LimitFields & { readonly status: number; readonly body: Buffer | null },
  windows: readonly LimitWindow[],
  clock: AnswerClock,
): RetryTime | null {
  const told = fromFields(answer, clock) ?? (answer.status === 429 ? fromBody(answer.body) : null);
  if (told !== null) return bounded(ourTime(told, clock), clock);
  if (answer.status !== 429) return null;
  const resets = windows.flatMap(({ remaining, resetAtMs }) => (remaining === 0 ? (resetAtMs ?? []) : []));
  return resets.length === 0 ? null : bounded(Math.max(...resets), clock);
}

/** What is past has been waited for. */
function bounded(atMs: number, { nowMs }: AnswerClock): RetryTime {
  const latest = nowMs + MAX_HOLD_MS;
  return { retryAtMs: Math.min(Math.max(atMs, nowMs), latest), capped: atMs > latest };
}

function fromFields({ field }: LimitFields, { nowMs }: AnswerClock): ToldTime | null {
  const ms = plainNumber(field("retry-after-ms"));
  if (ms !== null) return { inMs: ms };
  const after = field("retry-after");
  const seconds = plainNumber(after);
  if (seconds !== null) return { inMs: seconds * 1000 };
  const at = httpDate(after?.trim() ?? null, nowMs);
  return at === null ? null : { atMs: at };
}

/** On bytes, and only the one value that is asked for becomes a string: some providers repeat the key in an error. */
function fromBody(body: Buffer | null): ToldTime | null {
  if (body === null || body.length > MAX_BODY_BYTES) return null;
  try {
    const json = JsonBytes.parse(body);
    // Google's streams begin as an array.
    const error = (json.items()[0] ?? json).at("error");
    return error === null ? null : (googleDelay(error) ?? taapiBlock(error) ?? openRouterReset(error));
  } catch (error) {
    if (error instanceof JsonBytesError) return null;
    throw error;
  }
}

/** google.rpc.RetryInfo, as in `{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "52s"}`. */
function googleDelay(error: JsonBytes): ToldTime | null {
  for (const detail of error.items("details").slice(0, MAX_DETAILS)) {
    if (detail.text("@type")?.endsWith("google.rpc.RetryInfo") !== true) continue;
    const ms = goDuration(detail.text("retryDelay"));
    if (ms !== null) return { inMs: ms };
  }
  return null;
}

/** TAAPI's older scheme: `"blockTime": "1020 seconds"`. */
function taapiBlock(error: JsonBytes): ToldTime | null {
  const seconds = plainNumber(error.text("blockTime")?.replace(/ seconds?$/, "") ?? null);
  return seconds === null ? null : { inMs: seconds * 1000 };
}

/** OpenRouter repeats the fields of its limit in the error. */
function openRouterReset(error: JsonBytes): ToldTime | null {
  return toldTime(error.text("metadata", "headers", "X-RateLimit-Reset"), null);
}
