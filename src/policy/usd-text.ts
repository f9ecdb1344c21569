const NANO = 1_000_000_000n;
const DIGITS = 9;
const LEAST_DIGITS = 2;

/**
 * Dollars as decimal text, exact: `1.2345`, `0.20`, `0.000000001`. Made from whole numbers, because a division would bring
 * the noise of floating point. @param nano nano-dollars, not negative; a part of one is left out
 */
export function usdText(nano: number | bigint): string {
  const whole = typeof nano === "bigint" ? nano : BigInt(Math.floor(nano));
  const fraction = String(whole % NANO).padStart(DIGITS, "0");
  let end = DIGITS;
  while (end > LEAST_DIGITS && fraction.charCodeAt(end - 1) === 0x30) end--;
  return `${whole / NANO}.${fraction.slice(0, end)}`;
}
