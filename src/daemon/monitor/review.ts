import type { Severity } from "../../store/alerts.ts";
import type { Credential } from "../../store/credentials.ts";
import type { Health, MonitorStore } from "../../store/monitor.ts";
import type { Log } from "../log.ts";
import type { AlertKind } from "./alert-kinds.ts";
import type { AlertBook } from "./alerts.ts";
import { noticeDue } from "./expiry.ts";
import { currentVersion, expiryOf, type HealthTable } from "./health.ts";

/** A suspicion that no check could clear up for this long is told. */
const UNCLEAR_AFTER_MS = 5 * 60_000;

/** Alerts that this file opens and closes. */
const KINDS = [
  "credential_invalid",
  "credential_forbidden",
  "credential_suspect",
  "credential_expiring",
  "credential_expired",
] as const satisfies readonly AlertKind[];
type Kind = (typeof KINDS)[number];

export interface WantedAlert {
  readonly kind: Kind;
  readonly object: string;
  readonly severity: Severity;
  readonly message: string;
}

/** What is wrong with one credential, from what is known of its current version. */
export function alertsOf(credential: Credential, health: Health | undefined, nowMs: number): WantedAlert[] {
  if (credential.state !== "enabled") return [];
  const { name, provider } = credential;
  const object = `credential:${name}`;
  const wanted: WantedAlert[] = [];
  const add = (kind: Kind, severity: Severity, message: string) => wanted.push({ kind, object, severity, message });
  const version = `${name} version ${health?.version ?? ""}`;
  const again = `after changing it at ${provider} check again: \`sidekey credential validate ${name}\``;
  if (health?.state === "invalid") {
    const next = `store a new key with \`sidekey credential add ${provider} --name ${name} --replace\`, or ${again}`;
    add("credential_invalid", "critical", `${version} is out of use: ${health.detail}; ${next}`);
  }
  if (health?.state === "forbidden") add("credential_forbidden", "warning", `${version}: ${health.detail}; ${again}`);
  if (health?.suspectSince != null && nowMs - health.suspectSince >= UNCLEAR_AFTER_MS) {
    const since = new Date(health.suspectSince).toISOString();
    const why = `requests with it are refused since ${since} and no check could tell why (${health.detail})`;
    add("credential_suspect", "warning", `${version}: ${why}; look at the key at ${provider}`);
  }
  const expiresAt = expiryOf(credential, health);
  const days = expiresAt === null ? null : noticeDue(expiresAt - nowMs);
  if (expiresAt === null || days === null) return wanted;
  const replace = `replace its key with \`sidekey credential add ${provider} --name ${name} --replace\``;
  const when = new Date(expiresAt).toISOString();
  if (days === 0) add("credential_expired", "critical", `${name} expired at ${when}; ${replace}`);
  else add("credential_expiring", severityOf(days), `${name} expires at ${when}; ${replace}`);
  return wanted;
}

function severityOf(days: number): Severity {
  if (days <= 1) return "critical";
  return days <= 14 ? "warning" : "info";
}

export interface ReviewDeps {
  readonly store: MonitorStore;
  readonly health: HealthTable;
  readonly alerts: AlertBook;
  readonly log: Pick<Log, "warn">;
  readonly credentials: () => readonly Credential[];
  readonly now: () => number;
  readonly onFailure: (error: unknown) => void;
}

/** Brings the open alerts in line with what is known, and gives each notice of an expiry once. */
export function createReview(deps: ReviewDeps): () => void {
  const { alerts, credentials, health, now } = deps;
  /** What is open, so that a review that changes nothing raises nothing. */
  const open = new Map<string, { readonly kind: Kind; readonly object: string; readonly text: string }>();
  for (const { kind, object, severity, message } of alerts.open()) {
    const own = KINDS.find((each) => each === kind);
    if (own) open.set(`${own}\n${object}`, { kind: own, object, text: severity + message });
  }
  const notice = createNotices(deps);
  return () => {
    const nowMs = now();
    const wanted = new Set<string>();
    for (const credential of credentials()) {
      const current = currentVersion(credential);
      const known = current === null ? undefined : health.get(credential.id, current);
      for (const { kind, object, severity, message } of alertsOf(credential, known, nowMs)) {
        const key = `${kind}\n${object}`;
        wanted.add(key);
        if (open.get(key)?.text === severity + message) continue;
        open.set(key, { kind, object, text: severity + message });
        alerts.raise(kind, object, severity, message);
      }
      if (credential.state === "enabled") notice(credential, expiryOf(credential, known), nowMs);
    }
    for (const [key, { kind, object }] of open) {
      if (wanted.has(key)) continue;
      open.delete(key);
      alerts.clear(kind, object);
    }
  };
}

function createNotices({ store, log, onFailure }: ReviewDeps) {
  /** Given, or found to have been given, by this process. */
  const given = new Set<string>();
  return (credential: Credential, expiresAt: number | null, nowMs: number): void => {
    const days = expiresAt === null ? null : noticeDue(expiresAt - nowMs);
    if (expiresAt === null || days === null) return;
    const key = `${credential.id}\n${expiresAt}\n${days}`;
    if (given.has(key)) return;
    given.add(key);
    let first = true;
    try {
      first = store.noticeOnce(credential.id, expiresAt, days, nowMs);
    } catch (error) {
      onFailure(error);
    }
    if (!first) return;
    const expires = new Date(expiresAt).toISOString();
    log.warn(days === 0 ? "credential_expired" : "credential_expires", { credential: credential.name, expires, days });
  };
}
