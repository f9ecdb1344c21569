import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { type TestContext, test } from "node:test";
import { type Canary, makeCanary } from "../support/canary.ts";
import { connectRaw } from "../support/raw-client.ts";
import { requires } from "../support/requirement.ts";
import { pause } from "../support/running-sidekey.ts";
import { type ReceivedRequest, type StandIn, type StandInAnswer, startStandIn } from "../support/stand-in.ts";
import { makeAuthority } from "../support/test-authority.ts";
import { type MemoryHit, memoryIsReadable, scanMemory } from "./memory-scan.ts";
import { FORMS, proxyAuthorization, sendForm } from "./request-form.ts";
import { credentialFor, hostOf, type Kind, policyFor, providerFile } from "./scene.ts";
import { type SeparateDaemon, type SeparateOptions, startSeparateDaemon } from "./separate-daemon.ts";

const KINDS = ["header", "pair", "query", "basic", "body"] as const;
const REQUESTS = 200;
const IDLE_MS = 300;
/** Of 500 answers with a key, each of which could leave two halves. */
const MOST_IN_NATIVE_BUFFERS = 30;
const PROBE = "probe: { method: POST, path: /probe, body: '{}', valid: [200] }\n";
const BIG = "x".repeat(300_000);

interface World {
  readonly daemon: SeparateDaemon;
  readonly keys: ReadonlyMap<Kind, Canary>;
  readonly upstream: StandIn;
  /** Stand-ins answer only while this is true. */
  readonly gate: { open: boolean };
  /** While this is true the stand-ins send back what they received, key included, in the body. */
  readonly echo: { on: boolean };
}

/** One stand-in for all kinds, so that its own cost stays small; keys have characters that encodings change. */
async function startWorld(t: TestContext, leak: SeparateOptions["leak"] = null): Promise<World> {
  const authority = makeAuthority();
  const gate = { open: true };
  const echo = { on: false };
  const upstream = await startStandIn(t, {
    hostnames: KINDS.map((kind) => hostOf(kind)),
    authority,
    handler: async (request) => {
      while (!gate.open) await pause(10);
      return echo.on ? echoed(request) : answerTo(request);
    },
  });
  const keys = new Map(KINDS.map((kind) => [kind, makeCanary({ special: true })]));
  const daemon = await startSeparateDaemon(t, {
    policy: policyFor({ kinds: KINDS }),
    providers: Object.fromEntries(KINDS.map((kind) => [kind, providerFile(kind) + PROBE])),
    credentials: Object.fromEntries(
      KINDS.map((kind) => [`${kind}-main`, credentialFor(kind, keys.get(kind)?.text ?? "")]),
    ),
    hosts: KINDS.map((kind) => [hostOf(kind), { port: upstream.port, caPem: authority.caPem }]),
    clients: ["app"],
    secretsIdleMs: IDLE_MS,
    leak,
  });
  return { daemon, keys, upstream, gate, echo };
}

function answerTo(request: ReceivedRequest): string {
  if (request.target.startsWith("/suspect")) return "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
  const [key] = request.values("sec-websocket-key");
  if (key === undefined) return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`;
}

/** In chunks, so that keys are cut, and behind something that is none. */
function echoed({ bytes }: ReceivedRequest): StandInAnswer {
  const half = Math.floor(bytes.length / 2);
  return {
    headers: { "content-type": "application/json" },
    body: ['{"you sent": "', bytes.subarray(0, half), bytes.subarray(half), '"}'],
  };
}

/** What a copy of a key would look like; its random halves survive percent and JSON encoding. */
function needlesFor(keys: World["keys"]): Map<string, Buffer> {
  const needles = new Map<string, Buffer>();
  for (const [kind, { bytes }] of keys) {
    const text = bytes.toString("latin1");
    const halves = text.match(/[0-9a-f]{24}/g) ?? [];
    for (const [i, half] of halves.entries()) {
      needles.set(`${kind} half ${i}`, Buffer.from(half));
      needles.set(`${kind} half ${i} utf-16`, Buffer.from(half, "utf16le"));
    }
    const pair = kind === "basic" ? Buffer.concat([Buffer.from("id-of-basic:"), bytes]) : bytes;
    const base64 = pair.toString("base64");
    needles.set(`${kind} base64`, Buffer.from(base64.slice(20, 52)));
    needles.set(`${kind} base64 utf-16`, Buffer.from(base64.slice(20, 52), "utf16le"));
  }
  return needles;
}

async function traffic(t: TestContext, world: World, kind: Kind, count: number): Promise<void> {
  const next = { value: 0 };
  const one = async (): Promise<void> => {
    for (let i = next.value++; i < count; i = next.value++) {
      const form = FORMS[i % FORMS.length] ?? "absolute";
      const body = `{"a":"${i % 10 === 0 && !world.echo.on ? BIG : "b"}"}`;
      const ask = { host: hostOf(kind), route: kind, timeoutMs: 15_000 };
      const post = kind === "body" || i % 3 === 0 ? { method: "POST", body } : {};
      const reply = await sendForm(t, form, world.daemon, { ...ask, ...post });
      assert.equal(reply.status, 200, `${kind} ${form} ${i}: ${reply.seen.slice(0, 300)}`);
    }
  };
  await Promise.all(Array.from({ length: 8 }, one));
}

async function upgrades(t: TestContext, { daemon }: World, count: number): Promise<void> {
  const token = proxyAuthorization("app", daemon.tokens.app ?? "");
  for (let i = 0; i < count; i++) {
    const connection = await connectRaw(t, daemon);
    await connection.write(
      `GET http://${hostOf("header")}/ws HTTP/1.1\r\nHost: ${hostOf("header")}\r\nProxy-Authorization: ${token}\r\n` +
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n\r\n",
    );
    const reply = await connection.read((bytes) => bytes.includes("\r\n\r\n"));
    assert.match(reply.text, /^HTTP\/1\.1 101 /);
    connection.close();
  }
}

function summary(hits: readonly MemoryHit[]): string {
  return hits.map(({ needle, at, mapping, context }) => `${needle} at ${at} in ${mapping}: ${context}`).join("\n");
}

test("G2 no-string: after traffic in every injection kind, no copy of a key is in the daemon's memory once idle", async (t) => {
  if (!(await requires(t, "/proc/<pid>/mem", () => memoryIsReadable(process.pid)))) return;
  const world = await startWorld(t);
  const needles = needlesFor(world.keys);
  for (const kind of KINDS) await traffic(t, world, kind, REQUESTS);
  await upgrades(t, world, REQUESTS);
  for (const [kind, key] of world.keys) {
    if (kind === "header") assert.ok(world.upstream.requests.some((request) => request.bytes.includes(key.bytes)));
  }
  await pause(IDLE_MS * 3);
  const { hits, bytes } = scanMemory(world.daemon.pid, needles);
  assert.ok(bytes > 20_000_000, `only ${bytes} bytes were searched`);
  assert.equal(hits.length, 0, `${hits.length} copies\n${summary(hits.slice(0, 20))}`);
});

test("G2 no-string: answers that repeat the key leave no copies of it but what native buffers have not used again", async (t) => {
  if (!(await requires(t, "/proc/<pid>/mem", () => memoryIsReadable(process.pid)))) return;
  const world = await startWorld(t);
  world.echo.on = true;
  for (const kind of KINDS) await traffic(t, world, kind, REQUESTS / 2);
  world.echo.on = false;
  for (const kind of KINDS) await traffic(t, world, kind, REQUESTS / 2);
  await pause(IDLE_MS * 3);
  const { hits } = scanMemory(world.daemon.pid, needlesFor(world.keys));
  // OpenSSL's records and the HTTP parser's one buffer; an answer that was kept would be there a hundred times.
  assert.ok(hits.length <= MOST_IN_NATIVE_BUFFERS, `${hits.length} copies\n${summary(hits.slice(0, 20))}`);
});

test("G2 no-string: after a check of a key in every injection kind, no copy of it is in the daemon's memory", async (t) => {
  if (!(await requires(t, "/proc/<pid>/mem", () => memoryIsReadable(process.pid)))) return;
  const world = await startWorld(t);
  for (const kind of KINDS) {
    const ask = { host: hostOf(kind), route: kind, path: "/suspect", method: "POST", body: "{}" };
    assert.equal((await sendForm(t, "absolute", world.daemon, ask)).status, 403);
  }
  const checks = () => world.upstream.requests.filter(({ target }) => target.startsWith("/probe"));
  const deadline = performance.now() + 10_000;
  while (checks().length < KINDS.length && performance.now() < deadline) await pause(10);
  assert.equal(checks().length, KINDS.length);
  const header = world.keys.get("header");
  assert.ok(header && checks().some((request) => request.bytes.includes(header.bytes)), "a check carries the key");
  await pause(IDLE_MS * 3);
  const { hits } = scanMemory(world.daemon.pid, needlesFor(world.keys));
  assert.equal(hits.length, 0, `${hits.length} copies\n${summary(hits.slice(0, 20))}`);
});

test("G2 no-string: the scan finds the keys while exchanges are in flight", async (t) => {
  if (!(await requires(t, "/proc/<pid>/mem", () => memoryIsReadable(process.pid)))) return;
  const world = await startWorld(t);
  world.gate.open = false;
  const waiting = KINDS.map((kind) => traffic(t, world, kind, 1));
  while (world.upstream.requests.length < KINDS.length) await pause(10);
  const { hits } = scanMemory(world.daemon.pid, needlesFor(world.keys));
  world.gate.open = true;
  await Promise.all(waiting);
  const found = new Set(hits.map(({ needle }) => needle.split(" ")[0]));
  assert.deepEqual([...found].sort(), [...KINDS].sort());
});

for (const leak of ["string", "buffer"] as const) {
  test(`G2 no-string: a daemon that keeps a key in a ${leak} would be found out`, async (t) => {
    if (!(await requires(t, "/proc/<pid>/mem", () => memoryIsReadable(process.pid)))) return;
    const world = await startWorld(t, leak);
    await traffic(t, world, "header", 4);
    await pause(IDLE_MS * 3);
    const { hits } = scanMemory(world.daemon.pid, needlesFor(world.keys));
    assert.notEqual(hits.length, 0);
  });
}
