import { z } from "zod";

/** Backups that the daemon makes by itself. */
export interface BackupConfig {
  /** Directory. */
  readonly to: string;
  readonly everyMs: number;
  /** How many of them are kept. */
  readonly keep: number;
  /** What is taken along besides the vault. */
  readonly with: readonly ("usage" | "config")[];
}

/** The `backup` section of daemon.yaml. @param every how the file's other sections read a duration, in ms */
export function backupSchema<Duration extends z.ZodType<number>>(every: Duration) {
  return z.strictObject({
    to: z.string().min(1, "is empty; write a path").default("./backups"),
    every,
    keep: z.int().min(1).max(10_000).default(14),
    with: z.array(z.enum(["usage", "config"])).default([]),
  });
}
