import { existsSync } from "node:fs";
import { basename } from "node:path";
import { NO_PRICES, PriceError, type PriceTable, parsePrices } from "../policy/price-table.ts";
import { formatProblem } from "../policy/problem.ts";
import { watchFiles } from "./file-watch.ts";
import type { Log } from "./log.ts";
import { PolicyFileError, readConfigFile } from "./policy-file.ts";

export interface PriceSourceOptions {
  readonly file: string;
  readonly log: Pick<Log, "info" | "warn" | "error">;
  /** Called after every reload, also one that changed nothing; not for the first load. */
  readonly onReload: (result: PriceReload) => void;
  readonly pollMs?: number;
  readonly settleMs?: number;
}

export interface PriceReload {
  readonly ok: boolean;
  /** Why it was asked for: `file`, or what `reload` was given. */
  readonly reason: string;
  /** Version of the table in force afterwards; the old one when the reload failed. */
  readonly table: string;
  /** Whether another table is in force now. */
  readonly changed: boolean;
  /** Each as `file:line path: what is wrong; what to do`. Empty when ok. */
  readonly problems: readonly string[];
}

export interface PriceHealth {
  /** False while the file on disk is refused. */
  readonly ok: boolean;
  /** Version of the table in force; `none` when there is none. */
  readonly table: string;
  readonly problems: readonly string[];
  /** What an operator should know although nothing is wrong with the file. */
  readonly warnings: readonly string[];
}

/** Holds the one reference that costs are worked out by. */
export interface PriceSource {
  current(): PriceTable;
  /** Reads the file again; on any problem the table in force stays. Never throws. */
  reload(reason: string): PriceReload;
  health(): PriceHealth;
  close(): void;
}

/**
 * Loads the prices and follows their file. Unlike a policy, prices are not needed to start: without a usable file every
 * call is unpriced, which budgets in dollars refuse.
 */
export function openPriceSource(options: PriceSourceOptions): PriceSource {
  const { file, log, onReload, pollMs, settleMs } = options;
  let inForce = NO_PRICES;
  let text: string | null = null;
  let problems: readonly string[] = [];

  /** Without an await inside, so that two reloads cannot mix and a call sees the old or the new table. */
  function load(): void {
    try {
      const found = readIfThere(file);
      if (found === null) {
        problems = text === null ? [] : [`${file} is gone; the prices of before stay in force until it is back`];
        return;
      }
      if (found !== text) inForce = parsePrices(found, basename(file));
      text = found;
      problems = [];
    } catch (error) {
      problems = problemsOf(error);
    }
  }

  function reload(reason: string): PriceReload {
    const before = inForce.version;
    load();
    const table = inForce.version;
    const result = { ok: problems.length === 0, reason, table, changed: table !== before, problems };
    const { ok } = result;
    log[ok ? "info" : "error"]("prices_reload", { ok, reason, table, problems });
    onReload(result);
    return result;
  }

  load();
  if (problems.length > 0) log.error("prices", { problems });
  if (inForce === NO_PRICES) log.warn("prices", { problem: noTable(file) });
  const watching = watchFiles({
    file,
    onChange: () => void reload("file"),
    ...(pollMs === undefined ? {} : { pollMs }),
    ...(settleMs === undefined ? {} : { settleMs }),
  });
  return {
    current: () => inForce,
    reload,
    health: () => ({
      ok: problems.length === 0,
      table: inForce.version,
      problems,
      warnings: inForce === NO_PRICES ? [noTable(file)] : [],
    }),
    close: () => watching.close(),
  };
}

function noTable(file: string): string {
  return `no prices are known, so every call is unpriced and limits in usd refuse it; write ${file}`;
}

/** Null when there is no such file. @throws PolicyFileError when it cannot be read safely */
function readIfThere(file: string): string | null {
  return existsSync(file) ? readConfigFile(file, "`prices` in daemon.yaml") : null;
}

function problemsOf(error: unknown): readonly string[] {
  if (error instanceof PriceError) return error.problems.map((problem) => formatProblem(error.file, problem));
  if (error instanceof PolicyFileError) return [error.message];
  // Not foreseen, so its text may hold anything; its kind is enough to look for it in the code.
  return [`internal: loading the prices failed (${error instanceof Error ? error.name : "unknown error"})`];
}
