import type { AlertBook } from "../alerts.ts";

const UNKNOWN_HOST = "unknown_host";

/** A single mistake is worth a note; so many hosts, or so many requests, are worth a look. */
const MANY_HOSTS = 3;
const MANY_REQUESTS = 20;
/** Without another request for so long it is over. */
const LAPSE_MS = 86_400_000;
/** Hosts that are counted per client; more of them are only said to be more. */
const MAX_HOSTS = 200;
/** Hosts that are named, and characters of all their names. */
const MAX_NAMED = 20;
const MAX_NAMES_LENGTH = 600;
/** Clients that are watched; there are as many as the policy names. */
const MAX_CLIENTS = 500;

interface Asked {
  /** Requests by host, in the order in which they were first asked for. */
  readonly hosts: Map<string, number>;
  requests: number;
  /** More hosts than are counted. */
  more: boolean;
  /** It was a warning already when this process began. */
  readonly warned: boolean;
  lastAt: number;
}

/** Tells which clients ask for hosts that no route names: a typo, a forgotten route, or a program that tries to get out. */
export class UnknownHosts {
  readonly #alerts: Pick<AlertBook, "raise">;
  /** By client. */
  readonly #asked = new Map<string, Asked>();

  constructor(alerts: Pick<AlertBook, "raise" | "open">) {
    this.#alerts = alerts;
    for (const { kind, object, severity, lastAt } of alerts.open()) {
      if (kind === UNKNOWN_HOST) this.#begin(object.slice("client:".length), severity !== "info", lastAt);
    }
  }

  /** Clients and hosts that are kept. */
  get size(): number {
    let size = this.#asked.size;
    for (const { hosts } of this.#asked.values()) size += hosts.size;
    return size;
  }

  /** @param client one that is known: others may call themselves whatever they like */
  seen(client: string, host: string, atMs: number): void {
    const known = this.#asked.get(client);
    const asked = known && atMs - known.lastAt < LAPSE_MS ? known : this.#begin(client, false, atMs);
    asked.lastAt = Math.max(asked.lastAt, atMs);
    asked.requests++;
    const before = asked.hosts.get(host);
    if (before !== undefined || asked.hosts.size < MAX_HOSTS) asked.hosts.set(host, (before ?? 0) + 1);
    else asked.more = true;
    const many = asked.hosts.size >= MANY_HOSTS || asked.requests >= MANY_REQUESTS;
    const severity = many || asked.warned ? "warning" : "info";
    const times = asked.requests === 1 ? "once" : `${asked.requests} times`;
    const what = `client ${client} asked ${times} for ${hostList(asked)}, which no route names`;
    const message = `${what}; add a route if it should, or find out why it does`;
    this.#alerts.raise(UNKNOWN_HOST, `client:${client}`, severity, message, asked.lastAt + LAPSE_MS);
  }

  look(nowMs: number): void {
    for (const [client, { lastAt }] of this.#asked) if (nowMs - lastAt >= LAPSE_MS) this.#asked.delete(client);
  }

  #begin(client: string, warned: boolean, atMs: number): Asked {
    const [oldest] = this.#asked.keys();
    if (oldest !== undefined && this.#asked.size >= MAX_CLIENTS) this.#asked.delete(oldest);
    const asked: Asked = { hosts: new Map(), requests: 0, more: false, warned, lastAt: atMs };
    this.#asked.set(client, asked);
    return asked;
  }
}

/** `a.example (3), b.example and 4 more hosts` */
function hostList({ hosts, more }: Asked): string {
  const names: string[] = [];
  let length = 0;
  for (const [host, count] of hosts) {
    const name = count > 1 ? `${host} (${count})` : host;
    length += name.length;
    if (names.length >= MAX_NAMED || (names.length > 0 && length > MAX_NAMES_LENGTH)) break;
    names.push(name);
  }
  const left = hosts.size - names.length;
  if (left === 0 && !more) return names.join(", ");
  return `${names.join(", ")} and ${more ? "at least " : ""}${left} more hosts`;
}
