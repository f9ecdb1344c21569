import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { brotliCompressSync, constants, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { Agent, type Dispatcher, EnvHttpProxyAgent, install, ProxyAgent } from "undici";
import { type RunningSidekey, startSidekey } from "../support/running-sidekey.ts";
import { type StandIn, type StandInAnswer, type StandInHandler, startStandIn } from "../support/stand-in.ts";
import { selectUsage } from "../support/usage-fixture.ts";

/** An SDK's calls, once straight to a stand-in provider and once in each way through sidekey. */

// SDKs take FormData and Response from the global scope, and dispatchers fit the fetch of their own package only.
install();

export type Coding = "identity" | "gzip" | "deflate" | "br" | "zstd";

const ENCODERS: Readonly<Record<Coding, (bytes: Buffer) => Buffer>> = {
  identity: (bytes) => bytes,
  gzip: gzipSync,
  deflate: deflateSync,
  br: brotliCompressSync,
  zstd: zstdCompressSync,
};

/** One way from an SDK to its provider. */
export interface Way {
  readonly name: string;
  /** What stands before the path that the provider documents. */
  readonly origin: string;
  /** What the SDK is told is its key. */
  readonly key: string;
  readonly fetch: typeof globalThis.fetch;
}

/** What one usage record says. */
export interface Used {
  readonly operation: string | null;
  readonly model: string | null;
  readonly quality: string;
  readonly partial: boolean;
  /** Without the request itself, which is always one. */
  readonly units: Readonly<Record<string, number>>;
  /** Nano-dollars. */
  readonly cost: number | null;
}

/** Some calls of an SDK, with the usage records that they leave. */
export interface Calls<Client> {
  readonly name: string;
  readonly call: (client: Client, way: Way) => Promise<unknown>;
  readonly used: readonly Used[];
}

export interface ProviderUnderTest {
  /** In the catalog; the route is called like it. */
  readonly id: string;
  readonly host: string;
  readonly key: string;
  readonly handler: StandInHandler;
  readonly prices: string;
  /** How answers are compressed for those who take it; `identity` when absent. */
  readonly coding?: Coding;
  /** Appended to the route's map. */
  readonly route?: string;
}

export interface SdkScene {
  readonly standIn: StandIn;
  readonly sidekey: RunningSidekey;
  readonly direct: Way;
  readonly through: readonly Way[];
  /** How many requests of the stand-in have been looked at. */
  readonly seen: { requests: number };
  /** Waits until sidekey has recorded `count` calls, stops it, and returns the records in order. */
  records(count: number): Promise<Used[]>;
}

export async function startSdkScene(t: TestContext, provider: ProviderUnderTest): Promise<SdkScene> {
  const { id, host, key, handler, prices, route = "", coding = "identity" } = provider;
  const standIn = await startStandIn(t, {
    hostnames: [host],
    requireKey: (request) => request.bytes.includes(key),
    handler: coding === "identity" ? handler : encoded(handler, coding),
  });
  const sidekey = await startSidekey(t, {
    policy: `version: 1
clients: { app: { token: true } }
routes:
  ${id}: { provider: ${id}, hosts: [${host}], credentials: [main], clients: [app]${route} }
`,
    credentials: { main: { provider: id, hosts: [host], fields: { api_key: key } } },
    hosts: { [host]: { port: standIn.port, caPem: standIn.caPem } },
    prices,
  });
  return {
    standIn,
    sidekey,
    direct: straight(t, provider, standIn),
    through: waysThrough(t, provider, sidekey),
    seen: { requests: 0 },
    records: (count) => recordsOf(sidekey, count),
  };
}

/** Checks that every call gives the same in every way, and leaves the records that it should; returns what was given. */
export async function sameEveryWay<Client>(
  scene: SdkScene,
  clientOf: (way: Way) => Client,
  calls: readonly Calls<Client>[],
): Promise<Record<string, unknown>> {
  const direct = clientOf(scene.direct);
  const results: Record<string, unknown> = {};
  const sent: Record<string, unknown> = {};
  for (const { name, call } of calls) {
    results[name] = await call(direct, scene.direct);
    sent[name] = arrivals(scene);
  }
  let recorded = 0;
  for (const way of scene.through) {
    const client = clientOf(way);
    for (const { name, call, used } of calls) {
      assert.deepEqual(await call(client, way), results[name], `${way.name}: ${name}`);
      assert.deepEqual(arrivals(scene), sent[name], `${way.name}: the requests of ${name}`);
      recorded += used.length;
      // One after another, so that the records are in the order of the calls.
      assert.equal((await scene.sidekey.requestsLogged(recorded)).length, recorded, `${way.name}: ${name}`);
    }
  }
  const named = (way: Way) => calls.flatMap(({ name, used }) => used.map((each) => [way.name, name, each]));
  const records = await scene.records(recorded);
  const expected = scene.through.flatMap(named);
  assert.deepEqual(
    records.map((record, at) => [expected[at]?.[0], expected[at]?.[1], record]),
    expected,
  );
  assert.deepEqual([...scene.standIn.problems, ...scene.standIn.handshakeErrors], []);
  return results;
}

/** Fields of one connection, of the key, and the codings: clients ask for other ones without TLS, sidekey for those that it reads. */
const NOT_COMPARED = new Set(
  "connection host content-length transfer-encoding authorization x-api-key accept-encoding".split(" "),
);

/** The requests that have come to the provider since the last time, as far as they have to be the same in every way. */
function arrivals({ standIn, seen }: SdkScene): unknown[] {
  const fresh = standIn.requests
    .slice(seen.requests)
    .filter((each) => !/sidekey/i.test(each.values("user-agent").join()));
  seen.requests = standIn.requests.length;
  const arrived = fresh.map(({ method, target, headers, body, values }) => {
    const boundary = /boundary="?([^";]+)/.exec(values("content-type").join())?.[1];
    const named = (text: string): string => (boundary === undefined ? text : text.replaceAll(boundary, "boundary"));
    const fields = headers.map(([name, value]) => [name.toLowerCase(), named(value)] as const);
    const compared = fields.filter(([name]) => !NOT_COMPARED.has(name)).sort(([a], [b]) => (a < b ? -1 : 1));
    // What sidekey asks for in the client's name.
    const text = named(body.toString("latin1")).replace(/,?"stream_options":\{"include_usage":(true|false)\}/, "");
    return { method, target, fields: compared, body: text };
  });
  // Calls at the same time arrive in any order.
  return arrived.sort((a, b) => (a.body < b.body ? -1 : a.body > b.body ? 1 : 0));
}

/** The record of a call that nothing was used by. */
export function unused(operation: string, model: string | null = null): Used {
  return { operation, model, quality: "none", partial: false, units: {}, cost: 0 };
}

export function exactly(operation: string, model: string, units: Used["units"], cost: number): Used {
  return { operation, model, quality: "exact", partial: false, units, cost };
}

function straight(t: TestContext, { host, key }: ProviderUnderTest, standIn: StandIn): Way {
  const lookup = (_host: string, _options: unknown, found: (error: null, to: object[]) => void): void =>
    found(null, [{ address: "127.0.0.1", family: 4 }]);
  const dispatcher = new Agent({ connect: { ca: standIn.caPem, lookup: lookup as never } });
  const origin = `https://${host}:${standIn.port}`;
  return { name: "direct", origin, key, fetch: fetchBy(t, dispatcher) };
}

function waysThrough(t: TestContext, { id, host, key }: ProviderUnderTest, sidekey: RunningSidekey): Way[] {
  const proxyUrl = sidekey.proxyUrl("app");
  const token = sidekey.tokens.app ?? "";
  const requestTls = { ca: sidekey.caPem };
  const placeholder = `${key.slice(0, 3)}placeholder`;
  const proxied = { origin: `https://${host}`, key: placeholder };
  const authorization = `Basic ${Buffer.from(`app:${token}`).toString("base64")}`;
  const proxy = new ProxyAgent({
    uri: `http://127.0.0.1:${sidekey.port}`,
    token: authorization,
    requestTls,
    allowH2: false,
  });
  const environment = new EnvHttpProxyAgent({ httpsProxy: proxyUrl, httpProxy: proxyUrl, noProxy: "", requestTls });
  return [
    { name: "base URL", origin: `http://127.0.0.1:${sidekey.port}/${id}`, key: token, fetch: fetchBy(t, new Agent()) },
    { name: "proxy", ...proxied, fetch: fetchBy(t, proxy) },
    { name: "proxy by environment", ...proxied, fetch: fetchBy(t, environment) },
  ];
}

function fetchBy(t: TestContext, dispatcher: Dispatcher): typeof globalThis.fetch {
  t.after(() => dispatcher.destroy());
  const by = (input: string | URL | Request, init?: RequestInit) =>
    globalThis.fetch(input, { ...init, dispatcher } as object as RequestInit);
  // Clients look here for the class that belongs to the fetch.
  return Object.assign(by, { Response: globalThis.Response });
}

async function recordsOf(sidekey: RunningSidekey, count: number): Promise<Used[]> {
  await sidekey.requestsLogged(count);
  await sidekey.daemon.stop();
  const sql = "SELECT operation, model, quality, partial, units, cost_nano AS cost FROM usage ORDER BY id";
  interface Row extends Omit<Used, "partial" | "units"> {
    readonly partial: number;
    readonly units: string | null;
  }
  return selectUsage<Row>(join(sidekey.dataDir, "usage.db"), sql).map(({ units, partial, ...row }) => {
    const { request: _, ...others } = JSON.parse(units ?? "{}") as Record<string, number>;
    return { ...row, partial: partial === 1, units: others };
  });
}

/** The same answer, which goes no further than this until its client leaves. With `gzip`, all of it has been flushed. */
export function stalled(answer: StandInAnswer, socket: Socket, gzip = false): StandInAnswer {
  const { body: _, headers, ...rest } = answer as WellFormed;
  const waits = async function* (): AsyncGenerator<Uint8Array> {
    const bytes = await bodyOf(answer as WellFormed);
    yield gzip ? gzipSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH }) : bytes;
    if (!socket.destroyed) await once(socket, "close");
  };
  return { ...rest, headers: { ...headers, ...(gzip ? { "content-encoding": "gzip" } : {}) }, body: waits() };
}

/** The same answer, which breaks off behind this. */
export function cut(answer: StandInAnswer, socket: Socket): StandInAnswer {
  const breaks = async function* (): AsyncGenerator<Uint8Array> {
    yield await bodyOf(answer as WellFormed);
    socket.destroy();
  };
  return { ...(answer as WellFormed), body: breaks() };
}

/** Compresses what the handler answers, in pieces that ignore where anything ends. */
function encoded(handler: StandInHandler, coding: Coding): StandInHandler {
  return async (request, socket) => {
    const answer = (await handler(request, socket)) ?? undefined;
    const takes = request.values("accept-encoding").join().includes(coding);
    if (!takes || answer === undefined || typeof answer === "string" || answer instanceof Uint8Array) return answer;
    const bytes = ENCODERS[coding](await bodyOf(answer));
    const isStream =
      answer.body !== undefined && typeof answer.body !== "string" && !(answer.body instanceof Uint8Array);
    return {
      ...answer,
      headers: { ...answer.headers, "content-encoding": coding },
      body: isStream ? piecesOf(bytes) : bytes,
    };
  };
}

type WellFormed = Exclude<StandInAnswer, string | Uint8Array>;

async function bodyOf({ body = "" }: WellFormed): Promise<Buffer> {
  if (typeof body === "string") return Buffer.from(body, "latin1");
  if (body instanceof Uint8Array) return Buffer.from(body);
  const parts: Buffer[] = [];
  for await (const part of body) parts.push(typeof part === "string" ? Buffer.from(part, "latin1") : Buffer.from(part));
  return Buffer.concat(parts);
}

function* piecesOf(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 61) yield bytes.subarray(at, at + 61);
}
