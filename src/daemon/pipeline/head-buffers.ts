import { secretBuffer } from "../../secret.ts";

/** Fits every head within the bounds (16 KiB would be the largest; typical ones are below 1 KiB). */
const POOLED_BYTES = 4 * 1024;
/** Spare buffers kept; more are left to the garbage collector, zeroed. */
const MAX_SPARE = 256;

const spare: Buffer[] = [];

/**
 * A Buffer of its own memory for a request head with a secret in it. Never Node's shared pool: what lies there is
 * handed to others without being zeroed.
 * @param length in bytes
 */
export function takeHeadBuffer(length: number): Buffer {
  if (length > POOLED_BYTES) return secretBuffer(length);
  const whole = spare.pop() ?? secretBuffer(POOLED_BYTES);
  return whole.subarray(0, length);
}

/** Zeroes the buffer, and keeps its memory for the next head. The caller must not use it any more. */
export function wipeHeadBuffer(buffer: Buffer): void {
  buffer.fill(0);
  if (buffer.buffer.byteLength !== POOLED_BYTES || spare.length >= MAX_SPARE) return;
  spare.push(Buffer.from(buffer.buffer, 0, POOLED_BYTES));
}
