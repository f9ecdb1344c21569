import type { YamlPath } from "../providers/yaml-document.ts";
import { type Cidr, cidrsOverlap, parseCidr } from "./address.ts";
import type { KnownObjects, PolicyClient } from "./compile.ts";
import type { Report } from "./compile-route.ts";
import { frozenList, frozenMap } from "./freeze.ts";
import type { ClientFile, PolicyFile } from "./schema.ts";

const LOOPBACK = ["127.0.0.0/8", "::1/128"];

/** Compiles all clients, and says which of them cannot work (yet) or are open to more than one might think. */
export function compileClients(
  content: PolicyFile,
  known: KnownObjects,
  report: Report,
): ReadonlyMap<string, PolicyClient> {
  const used = new Set(Object.values(content.routes).flatMap((route) => route.clients));
  const clients = new Map<string, PolicyClient>();
  for (const [name, file] of Object.entries(content.clients)) {
    const client = compileClient(name, file);
    const path = ["clients", name];
    checkTrust(client, [...clients.values()], [...path, "trust"], report);
    if (client.token && !known.clients.has(name)) {
      report.warning(path, `has no token yet; make one with: sidekey client add ${name}`);
    }
    if (!used.has(name)) report.warning(path, "is on no route and may use nothing; name it in the clients of a route");
    clients.set(name, client);
  }
  return frozenMap(clients);
}

function compileClient(name: string, file: ClientFile): PolicyClient {
  return Object.freeze({
    name,
    token: file.token ?? false,
    from: frozenList((file.from ?? []).map(parseCidr)),
    trust: frozenList(trustedRanges(file.trust)),
    actsFor: file.actsFor ?? null,
  });
}

function trustedRanges(trust: ClientFile["trust"]): Cidr[] {
  if (trust === undefined) return [];
  if (trust === "loopback") return LOOPBACK.map(parseCidr);
  return (typeof trust === "string" ? [trust] : trust).map(parseCidr);
}

function checkTrust(client: PolicyClient, earlier: readonly PolicyClient[], path: YamlPath, report: Report): void {
  if (client.trust.length === 0) return;
  const ranges = client.trust.map(({ text }) => text).join(", ");
  report.warning(path, `any process at ${ranges} is client ${client.name} without a token; prefer token: true`);
  for (const other of earlier) {
    const shared = client.trust.find((range) => other.trust.some((theirs) => cidrsOverlap(range, theirs)));
    if (shared === undefined) continue;
    report.error(path, `${shared.text} is also trusted as client ${other.name}; an address can be one client only`);
  }
}
