import { z } from "zod";
import { parseDuration } from "../policy/duration.ts";

/** A string that `parse` turns into a value; what it throws becomes the problem's text. */
export function text<T>(parse: (value: string) => T) {
  return z.string().transform((value, context): T => {
    try {
      return parse(value);
    } catch (error) {
      context.addIssue({ code: "custom", message: error instanceof Error ? error.message : "is not valid" });
      return z.NEVER;
    }
  });
}

/** A duration with its unit, as milliseconds. */
export function duration(leastMs: number, mostMs: number) {
  return text((value) => {
    const ms = parseDuration(value);
    if (ms < leastMs || ms > mostMs) throw new Error(`${value} is out of range; write ${leastMs}ms to ${mostMs}ms`);
    return ms;
  });
}

export const path = z.string().min(1, "is empty; write a path");
