import type { LimitFields } from "../../src/providers/limits/limit-window.ts";

/** Response fields as a reader of limits sees them, from `name: value` lines as they are recorded. */
export function limitFields(lines: string): LimitFields {
  const fields = new Map(
    lines
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "")
      .map((line) => {
        const at = line.indexOf(":");
        return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()] as const;
      }),
  );
  return { field: (name) => fields.get(name) ?? null, names: () => fields.keys() };
}
