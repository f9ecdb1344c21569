import type { Command } from "commander";
import type { Alert } from "../../store/alerts.ts";
import { readMonitor } from "../../store/monitor.ts";
import type { Cli } from "../cli.ts";
import { CliError, notFound, usageError } from "../failure.ts";
import { formatTime, renderTable } from "../output.ts";

/** `alerts`: what somebody should look at; works without the daemon. */
export function registerAlerts(program: Command, cli: Cli): void {
  const alerts = program
    .command("alerts")
    .description("what somebody should look at: open alerts, worst first")
    .option("--all", "closed ones too")
    .option("--json", "as JSON")
    .action((options: { all?: boolean; json?: boolean }) => listAlerts(cli, options));
  alerts
    .command("acknowledge <id>")
    .description("mark an open alert as seen; it stays open until its cause is gone")
    .action((id: string) => acknowledge(cli, id));
}

function listAlerts(cli: Cli, options: { all?: boolean; json?: boolean }): void {
  const all = options.all === true;
  const alerts = readMonitor<readonly Alert[]>(
    cli.config().dataDir,
    (store) => [...store.alerts.open(), ...(all ? store.alerts.closed() : [])],
    [],
  );
  if (options.json === true) cli.terminal.json(alerts);
  else if (alerts.length > 0) cli.terminal.out(alertTable(alerts));
  else cli.terminal.note(all ? "no alerts" : "no open alerts; --all shows closed ones too");
}

function alertTable(alerts: readonly Alert[]): string {
  const rows = alerts.map((alert) => [
    String(alert.id),
    alert.severity,
    alert.kind,
    alert.object,
    stateText(alert),
    formatTime(alert.firstAt),
    formatTime(alert.lastAt),
    String(alert.count),
    alert.message,
  ]);
  return renderTable(["id", "severity", "kind", "about", "state", "since", "last", "times", "message"], rows);
}

function stateText({ closedAt, acknowledgedBy }: Alert): string {
  if (closedAt !== null) return `closed ${formatTime(closedAt)}`;
  return acknowledgedBy === null ? "open" : `open, seen by ${acknowledgedBy}`;
}

/** @throws CliError with exit 4 when there is no such alert */
function acknowledge(cli: Cli, text: string): void {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw usageError("the id is a number", "see `sidekey alerts`");
  const id = Number(text);
  const done = readMonitor(
    cli.config().dataDir,
    (store) => store.alerts.acknowledge(id, cli.actor, cli.now()),
    "missing",
  );
  if (done === "missing") throw notFound(`there is no alert ${id}`, "see `sidekey alerts --all`");
  if (done === "closed") throw new CliError(`alert ${id} is closed already`, { nextStep: "see `sidekey alerts`" });
  cli.terminal.out(`alert ${id} is marked as seen; it stays open until its cause is gone`);
}
