import { MAX_AMOUNT } from "./budget.ts";
import type { WarnedLevel } from "./budget-warning.ts";

/** An amount, and a time at which (or, of several together, the last at which) it was used. */
export interface Slice {
  atUs: number;
  amount: number;
}

/** Everything there is to know about one budget's counter. */
export interface BudgetState {
  /** False when the last window was a calendar's. */
  readonly sliding: boolean;
  /** How long a use may matter, in microseconds. */
  readonly keptUs: number;
  /** The counter's clock. */
  readonly latestUs: number;
  /** In order of time. */
  readonly used: readonly Slice[];
  /** What calls in flight hold, with the time at which that counts as used. */
  readonly open: readonly Slice[];
  readonly warned: { readonly limit: number; readonly levels: readonly WarnedLevel[] };
}

/** Parts of a state that are read; what sidekey writes has far fewer. */
const MAX_PARTS = 10_000;

/** One line of JSON. */
export function writeBudgetState({ sliding, keptUs, latestUs, used, open, warned }: BudgetState): string {
  return JSON.stringify({
    budget: 1,
    sliding,
    kept: keptUs,
    latest: latestUs,
    used: used.map(({ atUs, amount }) => [atUs, amount]),
    open: open.map(({ atUs, amount }) => [atUs, amount]),
    warned: [warned.limit, ...warned.levels.map(({ percent, atUs, above }) => [percent, atUs, above ? 1 : 0])],
  });
}

/** Null for anything but what `writeBudgetState` writes: a counter is not worth failing a start for. */
export function readBudgetState(text: string): BudgetState | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const { budget, sliding, kept, latest, used, open, warned } = value as Record<string, unknown>;
  if (budget !== 1 || typeof sliding !== "boolean" || !isWhole(kept) || kept < 1 || !isTime(latest)) return null;
  const [slices, held] = [readSlices(used), readSlices(open)];
  const levels = readWarned(warned);
  if (slices === null || held === null || levels === null) return null;
  const inOrder = slices.every(({ atUs }, n) => atUs >= (slices[n - 1]?.atUs ?? atUs) && atUs <= latest);
  return inOrder ? { sliding, keptUs: kept, latestUs: latest, used: slices, open: held, warned: levels } : null;
}

function readSlices(value: unknown): Slice[] | null {
  if (!Array.isArray(value) || value.length > MAX_PARTS) return null;
  const slices: Slice[] = [];
  for (const part of value as unknown[]) {
    if (!Array.isArray(part) || part.length !== 2) return null;
    const [atUs, amount] = part as unknown[];
    if (!isTime(atUs) || !isWhole(amount) || amount > 4 * MAX_AMOUNT) return null;
    slices.push({ atUs, amount });
  }
  return slices;
}

function readWarned(value: unknown): BudgetState["warned"] | null {
  if (!Array.isArray(value) || value.length > MAX_PARTS) return null;
  const [limit, ...parts] = value as unknown[];
  if (!isWhole(limit)) return null;
  const levels: WarnedLevel[] = [];
  for (const part of parts) {
    if (!Array.isArray(part) || part.length !== 3) return null;
    const [percent, atUs, above] = part as unknown[];
    if (!isWhole(percent) || percent > 100 || !isTime(atUs) || (above !== 0 && above !== 1)) return null;
    levels.push({ percent, atUs, above: above === 1 });
  }
  return { limit, levels };
}

function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
