import type { Command } from "commander";
import type { Cli } from "../cli.ts";
import type { DaemonStatus } from "../daemon-client.ts";
import { EXIT } from "../failure.ts";
import { formatSpan, formatTime, renderFacts } from "../output.ts";

/** For those whose name in JSON is not enough for a reader. */
const LABELS: ReadonlyMap<string, string> = new Map([
  ["inFlight", "in flight"],
  ["upstreamPools", "upstream pools"],
  ["certificatesMinted", "certificates made"],
  ["usage", "usage waiting"],
  ["usageDropped", "usage lost"],
]);

/** `status`: asks the running daemon. Exit 0 running, 1 not running or policy refused, 3 sealed. */
export function registerStatus(program: Command, cli: Cli): void {
  program
    .command("status")
    .description("the running daemon: listeners, policy, vault, counts")
    .option("--json", "as JSON")
    .action((options: { json?: boolean }) => showStatus(cli, options.json === true));
}

async function showStatus(cli: Cli, json: boolean): Promise<void> {
  const status = await cli.daemon().status();
  if (status.sealed) cli.exit(EXIT.sealed);
  else if (!status.policy.ok || status.prices?.ok === false) cli.exit(EXIT.failed);
  if (json) return cli.terminal.json(status);
  const listeners = Object.entries(status.listeners).filter(([, address]) => address !== null);
  cli.terminal.out(
    renderFacts([
      ["daemon", `running, pid ${status.pid}, version ${status.version}`],
      ["up", `${formatSpan(cli.now() - status.startedAt)} (since ${formatTime(status.startedAt)})`],
      ["vault", status.sealed ? `sealed: ${status.sealedBecause ?? "nobody knows why"}` : "open"],
      ...(status.sealedCategories.length === 0
        ? []
        : [["sealed categories", status.sealedCategories.join(", ")] as [string, string]]),
      ["policy", `${status.policy.ok ? "ok" : "last change refused"}, revision ${status.policy.revision}`],
      ...(status.prices === undefined ? [] : [["prices", pricesText(status.prices)] as const]),
      ...listeners.map(([name, address]) => [name, String(address)] as const),
      ...Object.entries({ ...status.counts, ...status.queue }).map(
        ([name, count]) => [LABELS.get(name) ?? name, String(count)] as const,
      ),
    ]),
  );
  for (const alert of status.alerts ?? []) {
    const times = alert.count > 1 ? `, ${alert.count} times` : "";
    const seen = alert.acknowledgedBy == null ? "" : `, seen by ${alert.acknowledgedBy}`;
    const about = `alert ${alert.id} (${alert.severity}) since ${formatTime(alert.firstAt)}${times}${seen}`;
    cli.terminal.out(`${about}: ${alert.message}`);
  }
  const { problems = [], warnings = [] } = status.prices ?? {};
  for (const problem of [...status.policy.problems, ...problems, ...warnings]) cli.terminal.warn(problem);
}

function pricesText({ ok, table }: NonNullable<DaemonStatus["prices"]>): string {
  return `${ok ? "ok" : "last change refused"}, table ${table}`;
}
