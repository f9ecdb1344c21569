import type { Command } from "commander";
import { usdText } from "../../policy/usd-text.ts";
import { tokenSums, tokensBothWays } from "../../providers/usage/token-sums.ts";
import { MAX_NAME } from "../../store/usage-record.ts";
import type { Cli } from "../cli.ts";
import { usageError } from "../failure.ts";
import { formatTime, oneLine } from "../output.ts";

/** `requests --follow`: outcomes of the running daemon as they happen. */
export function registerRequests(program: Command, cli: Cli): void {
  program
    .command("requests")
    .description("outcomes of the running daemon as they happen")
    .option("--follow", "go on until Ctrl-C")
    .option("--json", "one JSON object per line")
    .action((options: { follow?: boolean; json?: boolean }) => followRequests(cli, options));
}

async function followRequests(cli: Cli, options: { follow?: boolean; json?: boolean }): Promise<void> {
  if (options.follow !== true) {
    throw usageError("requests needs --follow", "for what has happened see `sidekey usage`");
  }
  const stop = new AbortController();
  const onSignal = (): void => stop.abort();
  process.once("SIGINT", onSignal);
  process.once("SIGTERM", onSignal);
  try {
    for await (const event of cli.daemon().follow(stop.signal)) {
      if (options.json === true) cli.terminal.jsonLine(event);
      else cli.terminal.out(eventLine(event));
    }
  } finally {
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
  }
}

/** `time status outcome client route METHOD host/path ms`, then model, tokens and cost as far as there are any. */
export function eventLine(event: Readonly<Record<string, unknown>>): string {
  const text = (name: string): string => {
    const value = event[name];
    return value === undefined || value === null ? "-" : String(value);
  };
  const at = typeof event.atMs === "number" ? formatTime(event.atMs) : "-";
  const place = event.host === undefined ? text("path") : `${text("host")}${event.path ?? ""}`;
  const took = typeof event.totalMs === "number" ? `${Math.round(event.totalMs)}ms` : "-";
  const names = [text("status"), text("outcome"), text("client"), text("route"), text("method")];
  return [at, ...names, place, took, ...usedBy(event)].join("  ");
}

/** `gpt-4o-mini`, `1200+350 tokens`, `0.0012 USD`: a daemon of another version may send less. */
function usedBy(event: Readonly<Record<string, unknown>>): string[] {
  const parts: string[] = [];
  const { usage, costNano } = event;
  let about = "";
  if (typeof usage === "object" && usage !== null) {
    const { model, units, quality } = usage as Readonly<Record<string, unknown>>;
    if (typeof model === "string") parts.push(oneLine(model.slice(0, MAX_NAME)));
    if (quality === "estimated") about = "about ";
    const tokens = typeof units === "object" && units !== null ? tokenSums(units) : null;
    const ways = tokens === null ? null : tokensBothWays(tokens);
    if (ways !== null) parts.push(`${about}${ways.tokensIn}+${ways.tokensOut} tokens`);
  }
  if (typeof costNano === "number" && Number.isSafeInteger(costNano) && costNano > 0)
    parts.push(`${about}${usdText(costNano)} USD`);
  if (event.unpriced === true) parts.push("unpriced");
  return parts;
}
