import type { Severity } from "../../store/alerts.ts";

/** What an alert of one kind is. */
export interface AlertKindFacts {
  /** Those that it can have, mildest first. */
  readonly severities: readonly Severity[];
  /** What it is about, as its `object` begins. */
  readonly about: "credential" | "provider" | "route" | "limit" | "client" | "backup" | "anchor" | "file";
  readonly means: string;
}

const INFO_UP = ["info", "warning", "critical"] as const;
const WARNING = ["warning"] as const;
const CRITICAL = ["critical"] as const;

/** Every alert there is; docs/OPERATING.md has the same table, with what to do. */
export const ALERT_KINDS = {
  credential_invalid: { severities: CRITICAL, about: "credential", means: "its provider does not accept the key" },
  credential_forbidden: { severities: WARNING, about: "credential", means: "a check of the key was forbidden" },
  credential_suspect: {
    severities: WARNING,
    about: "credential",
    means: "requests are refused and no check could tell why",
  },
  credential_expiring: { severities: INFO_UP, about: "credential", means: "it ends within 30, 14 or 1 days" },
  credential_expired: { severities: CRITICAL, about: "credential", means: "it has ended" },
  token_refused: {
    severities: CRITICAL,
    about: "credential",
    means: "it is not exchanged for an access token any more",
  },
  token_not_renewed: { severities: WARNING, about: "credential", means: "no access token could be got just now" },
  rotation_due: { severities: INFO_UP, about: "credential", means: "its key is as old as it may become" },
  rotation_failed: { severities: ["warning", "critical"], about: "credential", means: "a rotation was rolled back" },
  rotation_blocked: { severities: CRITICAL, about: "credential", means: "a rotation waits for the operator" },
  rotation_stuck: { severities: WARNING, about: "credential", means: "a rotation is tried again and again" },
  orphan_key: { severities: WARNING, about: "credential", means: "a key may be left at the provider" },
  old_key_alive: { severities: CRITICAL, about: "credential", means: "the replaced key still works at the provider" },
  provider_failing: {
    severities: CRITICAL,
    about: "provider",
    means: "half of its answers of 2 minutes were failures, or its breaker is open",
  },
  provider_limited: { severities: WARNING, about: "provider", means: "it has been answering 429 for 5 minutes" },
  provider_quota: {
    severities: CRITICAL,
    about: "credential",
    means: "the provider says that quota or credit is used up",
  },
  pool_down_to_one: { severities: WARNING, about: "route", means: "one of several credentials is left" },
  pool_empty: { severities: CRITICAL, about: "route", means: "none of several credentials can be used" },
  budget_threshold: {
    severities: INFO_UP,
    about: "limit",
    means: "a budget is used up to one of its `warn` per cents",
  },
  budget_unpriced: {
    severities: WARNING,
    about: "route",
    means: "calls on a route with a dollar budget have no price",
  },
  unknown_host: { severities: ["info", "warning"], about: "client", means: "it asks for hosts that no route names" },
  revoked_key_seen: { severities: CRITICAL, about: "client", means: "it sent the value of a revoked version" },
  stored_key_seen: { severities: CRITICAL, about: "client", means: "it sent the value of a version that is in use" },
  foreign_key_seen: {
    severities: WARNING,
    about: "client",
    means: "it sent a key of this provider that is not stored",
  },
  honeytoken_used: { severities: CRITICAL, about: "credential", means: "somebody used, or sent, a honeytoken" },
  submission_refused: { severities: WARNING, about: "file", means: "a sealed submission of the list is not accepted" },
  backup_failed: { severities: CRITICAL, about: "backup", means: "no backup was made" },
  backup_wrappers: { severities: WARNING, about: "backup", means: "one wrapper alone opens the vault and its backups" },
  anchor_not_sent: { severities: WARNING, about: "anchor", means: "the audit's anchor did not reach its keeper" },
} as const satisfies Readonly<Record<string, AlertKindFacts>>;

export type AlertKind = keyof typeof ALERT_KINDS;

/** In the order of the table. */
export const ALERT_KIND_NAMES = Object.keys(ALERT_KINDS) as readonly AlertKind[];
