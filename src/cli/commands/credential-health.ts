import { currentVersion, expiryOf, shownState } from "../../daemon/monitor/health.ts";
import type { Credential } from "../../store/credentials.ts";
import { type Check, type Health, readMonitor } from "../../store/monitor.ts";
import type { Cli } from "../cli.ts";
import { formatTime, renderFacts, renderTable } from "../output.ts";

/** Checks that `credential show` lists. */
const SHOWN_CHECKS = 5;

/** What monitor.db knows of one credential. */
export interface KnownHealth {
  readonly versions: readonly Health[];
  /** Newest first. */
  readonly checks: readonly Check[];
}

export function healthOf(cli: Cli, credential: Credential): KnownHealth {
  return readMonitor<KnownHealth>(
    cli.config().dataDir,
    (store) => ({ versions: store.health(credential.id), checks: store.checks(credential.id, SHOWN_CHECKS) }),
    { versions: [], checks: [] },
  );
}

/** The state of the current version of each credential, by credential id. */
export function statesOf(cli: Cli, credentials: readonly Credential[]): ReadonlyMap<string, string> {
  const known = readMonitor(cli.config().dataDir, (store) => store.health(), []);
  const byVersion = new Map(known.map((health) => [`${health.credential}\n${health.version}`, health]));
  return new Map(
    credentials.map((credential) => {
      const current = byVersion.get(`${credential.id}\n${currentVersion(credential)}`);
      return [credential.id, shownState(credential, current, cli.now())];
    }),
  );
}

/** The part of `credential show` that tells how the key is. */
export function renderHealth(cli: Cli, credential: Credential, { versions, checks }: KnownHealth): string {
  const current = versions.find(({ version }) => version === currentVersion(credential));
  const facts: (readonly [string, string])[] = [
    ["health", shownState(credential, current, cli.now())],
    ["last check", current?.checkedAt == null ? "-" : `${formatTime(current.checkedAt)} ${current.detail}`],
    ["next check", formatTime(current?.nextAt)],
    ["ends", formatTime(expiryOf(credential, current))],
  ];
  if (current?.expiresAt != null) facts.push(["learned expiry", formatTime(current.expiresAt)]);
  if (current?.suspectSince != null) facts.push(["suspect since", formatTime(current.suspectSince)]);
  if (checks.length === 0) return renderFacts(facts);
  const rows = checks.map((check) => [
    formatTime(check.at),
    String(check.version),
    check.reason,
    check.meaning,
    check.status === null ? "-" : String(check.status),
    check.detail,
  ]);
  return `${renderFacts(facts)}\n\n${renderTable(["checked", "version", "why", "meaning", "status", "detail"], rows)}`;
}
