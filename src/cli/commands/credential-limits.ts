import type { Credential } from "../../store/credentials.ts";
import { readMonitor } from "../../store/monitor.ts";
import { SHARED_PREFIX, type StoredLimits, type StoredWindow } from "../../store/provider-limit-rows.ts";
import type { Cli } from "../cli.ts";
import { formatTime, renderFacts, renderTable } from "../output.ts";

/**
 * What the provider last said of its own limits for each version of a credential; a hold that is over is left out.
 * Version 0 stands for all keys of a provider that counts them together.
 */
export function providerLimitsOf(cli: Cli, credential: Credential): StoredLimits[] {
  const limits = readMonitor(
    cli.config().dataDir,
    (store) => [
      ...store.providerLimits(credential.id),
      ...store.providerLimits(`${SHARED_PREFIX}${credential.provider}`),
    ],
    [],
  );
  const nowMs = cli.now();
  return limits.map(({ held, ...rest }) => ({ ...rest, held: held !== null && held.untilMs > nowMs ? held : null }));
}

/** The part of `credential show` that tells of the provider's own limits; null when nothing is known of them. */
export function renderProviderLimits(cli: Cli, limits: readonly StoredLimits[]): string | null {
  const holds = limits.flatMap(({ version, held }): (readonly [string, string])[] => {
    if (held === null) return [];
    const more = held.capped ? "; the provider asked for longer" : "";
    return [["held until", `${formatTime(held.untilMs)} (${versionText(version)}, status ${held.status}${more})`]];
  });
  const rows = limits.flatMap(({ version, windows }) => windows.map((window) => row(version, window, cli.now())));
  const columns = ["provider limit", "version", "scope", "left", "of", "resets", "seen"];
  const parts = [
    ...(holds.length > 0 ? [renderFacts(holds)] : []),
    ...(rows.length > 0 ? [renderTable(columns, rows)] : []),
  ];
  return parts.length === 0 ? null : parts.join("\n\n");
}

function row(version: number, window: StoredWindow, nowMs: number): string[] {
  const { kind, scope, limit, resetAtMs, seenAtMs } = window;
  const again = resetAtMs !== null && resetAtMs <= nowMs;
  const left = again ? limit : window.remaining;
  return [
    kind,
    versionText(version),
    scope ?? "-",
    left === null ? "-" : String(left),
    limit === null ? "-" : String(limit),
    again ? "-" : formatTime(resetAtMs),
    formatTime(seenAtMs),
  ];
}

function versionText(version: number): string {
  return version === 0 ? "all keys" : String(version);
}
