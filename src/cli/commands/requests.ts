import type { Command } from "commander";
import type { Cli } from "../cli.ts";
import { usageError } from "../failure.ts";
import { formatTime } from "../output.ts";

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

/** `time status outcome client route METHOD host/path ms` */
function eventLine(event: Readonly<Record<string, unknown>>): string {
  const text = (name: string): string => {
    const value = event[name];
    return value === undefined || value === null ? "-" : String(value);
  };
  const at = typeof event.atMs === "number" ? formatTime(event.atMs) : "-";
  const place = event.host === undefined ? text("path") : `${text("host")}${event.path ?? ""}`;
  const took = typeof event.totalMs === "number" ? `${Math.round(event.totalMs)}ms` : "-";
  return [at, text("status"), text("outcome"), text("client"), text("route"), text("method"), place, took].join("  ");
}
