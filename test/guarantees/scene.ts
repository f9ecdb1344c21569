import type { TestContext } from "node:test";
import { type Canary, findCanary, makeCanary } from "../support/canary.ts";
import {
  type RunningSidekey,
  type SidekeyOptions,
  startSidekey,
  type TestCredential,
} from "../support/running-sidekey.ts";
import { type StandIn, type StandInHandler, type StandInOptions, startStandIn } from "../support/stand-in.ts";
import { makeAuthority, type TestAuthority } from "../support/test-authority.ts";

/** How a provider takes its key; each is a provider of that id with a stand-in at `api.<kind>.test`. */
export type Kind = "header" | "pair" | "query" | "basic" | "body";

const AUTH: Readonly<Record<Kind, string>> = {
  header: '{ scheme: header, headers: { x-api-key: "{api_key}" } }',
  pair: '{ scheme: header, headers: { x-key-id: "{key_id}", authorization: "Bearer {api_key}" } }',
  query: "{ scheme: query, query: { apikey: api_key } }",
  basic: '{ scheme: basic, user: "{key_id}", password: "{api_key}" }',
  body: "{ scheme: body-json, pointer: /secret, field: api_key, methods: [POST] }",
};

const CARRIERS =
  "{ headers: [authorization, x-api-key, api-key], query: [apikey, api_key, token], body: [/secret, /auth/key], cookies: [apikey] }";

const TRUSTED = "{ token: true, trust: loopback }";

export interface SceneOptions {
  readonly kinds?: readonly Kind[];
  /** Keys with characters that encodings change. */
  readonly specialKeys?: boolean;
  /** Lines for the route of a kind, such as `limits: [...]`. */
  readonly routes?: Partial<Record<Kind, string>>;
  readonly clients?: readonly string[];
  readonly handler?: StandInHandler;
  readonly certificate?: StandInOptions["certificate"];
  readonly unmatched?: "deny" | "tunnel";
  readonly config?: SidekeyOptions["config"];
  readonly resolve?: SidekeyOptions["resolve"];
  /** Needs no token from this machine, so that a test can send bytes as they are. */
  readonly trustLoopback?: boolean;
  /** Extra top-level policy text. */
  readonly policy?: string;
  /** Who may use a route; default: all `clients`. */
  readonly routeClients?: Partial<Record<Kind, readonly string[]>>;
  /** Hosts that no route names, each with a stand-in that would answer. */
  readonly strangers?: readonly string[];
  /** Trusted instead of the stand-ins' own authority. */
  readonly caPem?: string;
  /** Hosts that lead nowhere by themselves: names are resolved with `resolve` instead of to the stand-ins. */
  readonly unpinned?: boolean;
}

export interface Scene {
  readonly sidekey: RunningSidekey;
  readonly authority: TestAuthority;
  readonly upstream: Readonly<Record<string, StandIn>>;
  readonly keys: Readonly<Record<string, Canary>>;
}

export function hostOf(kind: string): string {
  return `api.${kind}.test`;
}

/** A provider file that takes its key the way `kind` says. */
export function providerFile(kind: Kind, host = hostOf(kind)): string {
  const id = kind === "pair" || kind === "basic" ? "key_id: { label: Key ID, secret: false }\n  " : "";
  return `id: ${kind}
name: ${kind}
category: demo
docs: https://${host}/docs
sources: ["made for a test (S)"]
environments:
  live: { hosts: ["${host}"] }
fields:
  ${id}api_key: { label: API key, secret: true }
auth:
  - ${AUTH[kind]}
carriers: ${CARRIERS}
`;
}

/** The credential that `providerFile(kind)` needs. */
export function credentialFor(kind: Kind, key: string, host = hostOf(kind)): TestCredential {
  const id = kind === "pair" || kind === "basic" ? { key_id: `id-of-${kind}` } : {};
  return { provider: kind, category: "demo", hosts: [host], fields: { ...id, api_key: key } };
}

export function routeLine(kind: Kind, clients: readonly string[], extra = ""): string {
  return `  ${kind}: { provider: ${kind}, credentials: [${kind}-main], clients: [${clients.join(", ")}]${extra && `, ${extra}`} }`;
}

/** A policy with one route for each kind, open to all `clients`. */
export function policyFor(options: SceneOptions): string {
  const clients = options.clients ?? ["app"];
  const routes = (options.kinds ?? ["header"]).map((kind) =>
    routeLine(kind, options.routeClients?.[kind] ?? clients, options.routes?.[kind]),
  );
  return `version: 1
unmatched: ${options.unmatched ?? "deny"}
clients: { ${clients.map((client) => `${client}: ${options.trustLoopback ? TRUSTED : "{ token: true }"}`).join(", ")} }
routes:
${routes.join("\n")}
${options.policy ?? ""}`;
}

/** A daemon, and a stand-in provider with a key of its own for each kind. */
export async function startScene(t: TestContext, options: SceneOptions = {}): Promise<Scene> {
  const kinds = options.kinds ?? ["header"];
  const authority = makeAuthority();
  const upstream: Record<string, StandIn> = {};
  const keys: Record<string, Canary> = {};
  const hosts: Record<string, { port: number; caPem: string }> = {};
  const credentials: Record<string, TestCredential> = {};
  const providers: Record<string, string> = {};
  for (const kind of kinds) {
    const { handler, certificate } = options;
    const standIn = await startStandIn(t, {
      hostnames: [hostOf(kind)],
      authority,
      ...(handler ? { handler } : {}),
      ...(certificate ? { certificate } : {}),
    });
    const key = makeCanary({ special: options.specialKeys ?? false });
    upstream[kind] = standIn;
    keys[kind] = key;
    hosts[hostOf(kind)] = { port: standIn.port, caPem: options.caPem ?? authority.caPem };
    credentials[`${kind}-main`] = credentialFor(kind, key.text);
    providers[kind] = providerFile(kind);
  }
  for (const host of options.strangers ?? []) {
    const standIn = await startStandIn(t, { hostnames: [host], authority });
    upstream[host] = standIn;
    hosts[host] = { port: standIn.port, caPem: authority.caPem };
  }
  const sidekey = await startSidekey(t, {
    policy: policyFor(options),
    providers,
    credentials,
    clients: options.clients ?? ["app"],
    ...(options.unpinned ? {} : { hosts }),
    ...(options.config ? { config: options.config } : {}),
    ...(options.resolve ? { resolve: options.resolve } : {}),
  });
  return { sidekey, authority, upstream, keys };
}

/** Which stand-ins have seen which key, as `key>stand-in`; empty while no key has left. */
export function keysSeen(scene: Scene): string[] {
  return Object.entries(scene.keys).flatMap(([kind, key]) =>
    Object.entries(scene.upstream)
      .filter(([, standIn]) => findCanary(standIn.received(), key).length > 0)
      .map(([name]) => `${kind}>${name}`),
  );
}

/** The stand-in of `kind`; a scene without it is a mistake of the test. */
export function upstreamOf(scene: Scene, kind: string): StandIn {
  const standIn = scene.upstream[kind];
  if (!standIn) throw new Error(`the scene has no ${kind}`);
  return standIn;
}

export function keyOf(scene: Scene, kind: Kind): Canary {
  const key = scene.keys[kind];
  if (!key) throw new Error(`the scene has no key for ${kind}`);
  return key;
}
