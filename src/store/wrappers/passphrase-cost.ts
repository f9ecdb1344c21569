import { Secret } from "../../secret.ts";
import { argon2id, SALT_BYTES } from "../crypto.ts";
import type { PassphraseCost } from "../wrappers.ts";

const MIB = 1024 * 1024;
/** RFC 9106's second recommendation: what is chosen on a slow or a small machine. */
const FLOOR: PassphraseCost = { passes: 3, memoryBytes: 64 * MIB };
const MOST_MEMORY_BYTES = 1024 * MIB;
const MOST_PASSES = 64;
const TARGET_MS = 500;
/** Other work only makes a measurement longer, so the shortest of these is the machine's speed. */
const MEASUREMENTS = 2;
/** Opening must not need more memory than a container still has when the daemon runs in it. */
const SHARE_OF_MEMORY = 4;

export interface CostSources {
  /** ms that one derivation of this cost takes */
  readonly measure: (cost: PassphraseCost) => Promise<number>;
  /** bytes that this process may still use */
  readonly availableBytes: number;
}

/**
 * The Argon2id cost that takes about half a second here: memory first (up to 1 GiB and a quarter of what is available),
 * then passes, never less than 3 passes over 64 MiB.
 */
export async function tunedCost({ measure, availableBytes }: CostSources): Promise<PassphraseCost> {
  const times: number[] = [];
  for (let count = 0; count < MEASUREMENTS; count++) times.push(await measure(FLOOR));
  // Time grows with memory and with passes alike.
  const factor = TARGET_MS / Math.max(1, Math.min(...times));
  const most = Math.min(MOST_MEMORY_BYTES, availableBytes / SHARE_OF_MEMORY);
  const memory = Math.max(FLOOR.memoryBytes, Math.min(most, FLOOR.memoryBytes * factor));
  const memoryBytes = Math.floor(memory / MIB) * MIB;
  const passes = Math.floor((FLOOR.passes * factor * FLOOR.memoryBytes) / memoryBytes);
  return { memoryBytes, passes: Math.min(MOST_PASSES, Math.max(FLOOR.passes, passes)) };
}

/** Measures on this machine. @param elapsedMs a clock that only goes forward */
export function machineSources(elapsedMs: () => number): CostSources {
  const measure = async ({ passes, memoryBytes }: PassphraseCost): Promise<number> => {
    const sample = Secret.copyOf(Buffer.from("a passphrase of nobody"));
    const start = elapsedMs();
    const key = await argon2id(sample, Buffer.alloc(SALT_BYTES), passes, memoryBytes);
    key.wipe();
    return elapsedMs() - start;
  };
  return { measure, availableBytes: process.availableMemory() };
}
