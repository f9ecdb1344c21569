const DECIMALS = 9;
const SHOWN_DECIMALS = 2;

/**
 * Dollars with every decimal that is not 0, and at least two: `0.0045`, `12.50`. Exact.
 * @param nanoUsd whole nano-dollars, at least 0
 */
export function formatUsd(nanoUsd: number): string {
  const digits = String(nanoUsd).padStart(DECIMALS + 1, "0");
  const whole = digits.slice(0, -DECIMALS);
  const fraction = digits.slice(-DECIMALS).replace(/0+$/, "");
  return `${whole}.${fraction.padEnd(SHOWN_DECIMALS, "0")}`;
}
