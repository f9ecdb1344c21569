import { secretBuffer } from "../../secret.ts";

/*
 * Shamir's secret sharing over GF(2^8) with the polynomial of AES (x^8 + x^4 + x^3 + x + 1): every byte of the secret
 * is the value at 0 of a random polynomial of degree threshold - 1, and share number x holds its value at x.
 */

/** Shares are numbered 1 to 255: the field's elements without 0, where the secret is. */
export const MOST_SHARES = 255;

export interface Point {
  readonly x: number;
  readonly y: Uint8Array;
}

/** Multiplication in the field, in the same time whatever the factors are. */
export function multiply(a: number, b: number): number {
  let product = 0;
  for (let bit = 0; bit < 8; bit++) {
    product ^= -((b >> bit) & 1) & a;
    a = (a << 1) ^ (-(a >> 7) & 0x11b);
  }
  return product;
}

/** The inverse of `a`, a^254; 0 for 0. */
export function invert(a: number): number {
  let [result, power] = [1, a];
  for (let bit = 1; bit < 8; bit++) {
    power = multiply(power, power);
    result = multiply(result, power);
  }
  return result;
}

/**
 * The values of shares 1 to `count`, any `threshold` of which give `secret` back. The caller wipes them.
 * @param random gives as many random bytes as it is asked for; they are wiped here
 */
export function splitSecret(
  secret: Uint8Array,
  { threshold, count }: { threshold: number; count: number },
  random: (bytes: number) => Buffer,
): Buffer[] {
  if (!(threshold >= 1 && threshold <= count && count <= MOST_SHARES)) {
    throw new Error(`internal: ${threshold} of ${count} shares cannot be made`);
  }
  const coefficients = random(secret.length * (threshold - 1));
  const shares = Array.from({ length: count }, (_, index) => {
    const share = secretBuffer(secret.length);
    for (let at = 0; at < secret.length; at++) {
      let value = 0;
      // Horner's scheme, from the highest power down to the secret itself.
      for (let power = threshold - 2; power >= 0; power--) {
        value = multiply(value ^ (coefficients[power * secret.length + at] ?? 0), index + 1);
      }
      share[at] = value ^ (secret[at] ?? 0);
    }
    return share;
  });
  coefficients.fill(0);
  return shares;
}

/** The secret, when `points` are as many different shares as the threshold says. The caller wipes it. */
export function combinePoints(points: readonly Point[]): Buffer {
  const secret = secretBuffer(points[0]?.y.length ?? 0);
  for (const { x, y } of points) {
    // Lagrange's basis polynomial of this point at 0; subtraction is addition here.
    let weight = 1;
    for (const other of points) if (other.x !== x) weight = multiply(weight, multiply(other.x, invert(other.x ^ x)));
    for (let at = 0; at < secret.length; at++) secret[at] = (secret[at] ?? 0) ^ multiply(weight, y[at] ?? 0);
  }
  return secret;
}
