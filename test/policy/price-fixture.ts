import {
  type Cost,
  costOf,
  type PricedCall,
  PriceError,
  type PriceTable,
  parsePrices,
} from "../../src/policy/price-table.ts";
import { formatProblem } from "../../src/policy/problem.ts";

/** A file around one provider `p`; its lines begin at line 5. */
export function pricesYaml(...lines: string[]): string {
  return ["version: 1", "table: t", "providers:", "  p:", ...lines.map((line) => `    ${line}`), ""].join("\n");
}

/** A file in which provider `p` has one model `m` with these prices, each a YAML map; they begin at line 8. */
export function modelYaml(...periods: string[]): string {
  return pricesYaml("models:", "  - names: [m]", "    prices:", ...periods.map((period) => `      - ${period}`));
}

export function tableOf(yaml: string): PriceTable {
  return parsePrices(yaml, "prices.yaml");
}

/** The lines that an operator would read; empty when the file is good. */
export function priceProblems(yaml: string): string[] {
  try {
    tableOf(yaml);
    return [];
  } catch (error) {
    if (!(error instanceof PriceError)) throw error;
    return error.problems.map((problem) => formatProblem(error.file, problem));
  }
}

/** The cost of a call of model `m` of provider `p` on 1 June 2026 by the standard tier, where nothing else is said. */
export function costIn(table: PriceTable, call: Partial<PricedCall>): Cost {
  return costOf(table, { provider: "p", model: "m", tier: null, units: {}, atMs: Date.UTC(2026, 5, 1), ...call });
}
