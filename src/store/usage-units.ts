import { MAX_COUNT, wholeUpTo } from "./usage-record.ts";

/** Units of one call that are kept; providers bill by a closed list that is shorter. */
const MAX_UNITS = 40;

/** The units of a call as text for one column: whole counts above 0; null when there are none. */
export function unitsText(units: Readonly<Record<string, number>>): string | null {
  const used: Record<string, number> = {};
  let kept = 0;
  for (const unit of Object.keys(units)) {
    const count = wholeUpTo(units[unit] ?? 0, MAX_COUNT);
    if (count === 0 || kept === MAX_UNITS) continue;
    used[unit] = count;
    kept++;
  }
  return kept === 0 ? null : JSON.stringify(used);
}

/** What `unitsText` wrote. Empty for text that is something else: the file may have been edited. */
export function parseUnits(text: string): Record<string, number> {
  try {
    const units: unknown = JSON.parse(text);
    if (typeof units !== "object" || units === null) return {};
    const counts = Object.entries(units).filter((entry): entry is [string, number] => typeof entry[1] === "number");
    return Object.fromEntries(counts);
  } catch {
    return {};
  }
}
