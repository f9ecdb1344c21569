import { existsSync } from "node:fs";
import { PolicyFileError, readConfigFile } from "../daemon/policy-file.ts";
import {
  NO_PRICES,
  type PriceDocument,
  PriceError,
  type PriceTable,
  parsePriceDocument,
} from "../policy/price-table.ts";
import type { Cli } from "./cli.ts";
import { shortPath } from "./output.ts";

export interface CheckedPrices extends PriceDocument {
  /** As shown in messages: relative to where the command runs, when it lies below. */
  readonly file: string;
}

/**
 * Reads the prices as the daemon would.
 * @param path another file than the one of daemon.yaml
 * @throws PriceError, PolicyFileError
 */
export function readPrices(cli: Cli, path?: string): CheckedPrices {
  const whole = path ?? cli.config().pricesFile;
  const file = shortPath(whole);
  return { file, ...parsePriceDocument(readConfigFile(whole, "`prices` in daemon.yaml"), file) };
}

/** The table for commands that are about something else: a file that cannot be used is none, as at the daemon's start. */
export function usablePrices(cli: Cli): PriceTable {
  try {
    return existsSync(cli.config().pricesFile) ? readPrices(cli).table : NO_PRICES;
  } catch (error) {
    if (error instanceof PriceError || error instanceof PolicyFileError) return NO_PRICES;
    throw error;
  }
}
