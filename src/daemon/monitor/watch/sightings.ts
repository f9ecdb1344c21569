import type { Finding } from "../../pipeline/tripwire.ts";
import type { Alerts } from "../alerts.ts";

/** Without another sighting for so long it is over. */
const LAPSE_MS = 86_400_000;

/** A request that would have used a honeytoken. */
export interface HoneytokenUse {
  readonly credential: string;
  readonly client: string | null;
  readonly route: string;
  readonly atMs: number;
}

/** Tells which clients send keys of their own, and who uses what is only there to be stolen. Keeps nothing itself. */
export class Sightings {
  readonly #alerts: Alerts;

  constructor(alerts: Alerts) {
    this.#alerts = alerts;
  }

  found(finding: Finding, atMs: number): void {
    const { kind, client, where, value } = finding;
    const lapsesAt = atMs + LAPSE_MS;
    if (kind === "honeytoken_used") {
      const message = `${nameOf(client)} sent the value of honeytoken ${value?.credential} ${placeOf(finding)}: whoever put it there has read what he should not have; find out where it was stored`;
      this.#alerts.raise(kind, baitOf(value?.credential ?? "", client), "critical", message, lapsesAt);
      return;
    }
    const severity = kind === "foreign_key_seen" ? "warning" : "critical";
    this.#alerts.raise(kind, `client:${client ?? UNKNOWN}/${where}`, severity, messageOf(finding), lapsesAt);
  }

  /** A request was for a route whose credential is a honeytoken; it was refused as for any other that cannot be used. */
  honeytoken({ credential, client, route, atMs }: HoneytokenUse): void {
    const message = `${nameOf(client)} asked for route ${route}, for which honeytoken ${credential} would have been used; find out what it looked for`;
    this.#alerts.raise("honeytoken_used", baitOf(credential, client), "critical", message, atMs + LAPSE_MS);
  }
}

/** No client can have this name. */
const UNKNOWN = "?";

function nameOf(client: string | null): string {
  return client === null ? "a client that is not known" : `client ${client}`;
}

function placeOf({ place, where }: Finding): string {
  return `(${place}, ${where})`;
}

function baitOf(credential: string, client: string | null): string {
  return `credential:${credential}/${client ?? UNKNOWN}`;
}

function messageOf(finding: Finding): string {
  const { client, provider, value } = finding;
  const sent = `${nameOf(client)} sent`;
  if (value === null) {
    return `${sent} a key of ${provider} that is not stored here ${placeOf(finding)}; take it out of that service, and store it with \`sidekey credential add\` or end it at the provider`;
  }
  const which = `the key of ${value.credential} version ${value.version} ${placeOf(finding)}`;
  if (finding.kind === "revoked_key_seen") {
    return `${sent} ${which}, which is ${value.stage}; take it out of that service, and make sure that it is dead at the provider`;
  }
  return `${sent} ${which}, which is in use (${value.stage}) and should be known to nobody but sidekey; take it out of that service and replace it with \`sidekey credential rotate ${value.credential}\``;
}
