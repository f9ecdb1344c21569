import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { DEFAULT_LIMITS } from "../src/daemon/config-limits.ts";
import { createLoopbackIdentity } from "../src/daemon/loopback-identity.ts";
import { HOST } from "./fixture.ts";
import { type Running, residentBytes, startScript } from "./process.ts";
import type { EventDelays, Opened, StreamPlan } from "./stream-client.ts";

/** Many event streams that are open at once: what each costs in memory, and how much later an event arrives. */

export interface StreamMemory {
  readonly streams: number;
  readonly failed: number;
  /** Resident memory of the daemon in megabytes: at its start, with all streams open and idle, after they have closed. */
  readonly before: number;
  readonly open: number;
  readonly after: number;
  /** File descriptors of the daemon, likewise. */
  readonly descriptors: readonly [before: number, open: number, after: number];
}

export interface StreamDelays {
  readonly streams: number;
  readonly direct: EventDelays;
  readonly sidekey: EventDelays;
}

/** The daemon has two sockets for each stream, and files of its own. */
const SPARE_DESCRIPTORS = 100;
const ROUNDS = 20;
/** How long memory may take to come to rest. */
const SETTLE_MS = 10_000;
const LIMITS = { ...DEFAULT_LIMITS, connections: 11_000, connectionsPerClient: 11_000, socketsPerPool: 11_000 };

/** How many streams this machine's limit of open files allows, at most `wanted`. */
export function possibleStreams(wanted: number): number {
  const limit = Number(spawnSync("sh", ["-c", "ulimit -Hn"]).stdout.toString());
  return Number.isNaN(limit) ? wanted : Math.min(wanted, Math.floor((limit - SPARE_DESCRIPTORS) / 2));
}

/** Opens `streams` streams through a daemon, lets them idle, and closes them again. */
export async function streamMemory(streams: number): Promise<StreamMemory> {
  const ends = await startEnds();
  try {
    const pid = ends.sidekey.process.pid ?? 0;
    const before = [residentBytes(pid) / 1e6, descriptors(pid)] as const;
    const { client, opened } = await openStreams(ends.viaSidekey(streams));
    await pause(SETTLE_MS);
    const open = [residentBytes(pid) / 1e6, descriptors(pid)] as const;
    await client.stop();
    await pause(SETTLE_MS);
    return {
      streams: opened.open,
      failed: opened.failed,
      before: before[0],
      open: open[0],
      after: residentBytes(pid) / 1e6,
      descriptors: [before[1], open[1], descriptors(pid)],
    };
  } finally {
    await ends.stop();
  }
}

/** Sends an event into each of `streams` streams at the same time, again and again. */
export async function streamDelays(streams: number): Promise<StreamDelays> {
  const ends = await startEnds();
  try {
    const direct = await delaysOf(ends, ends.direct(streams));
    return { streams, direct, sidekey: await delaysOf(ends, ends.viaSidekey(streams)) };
  } finally {
    await ends.stop();
  }
}

async function delaysOf({ upstream }: Ends, plan: StreamPlan): Promise<EventDelays> {
  const { client } = await openStreams(plan);
  const rounds: EventDelays[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const came = client.ask();
    upstream.process.stdin?.write("event\n");
    rounds.push(JSON.parse(await came) as EventDelays);
    await pause(50);
  }
  await client.stop();
  // Streams that were closed must not be waited for in the next run.
  await pause(500);
  const middle = (pick: (round: EventDelays) => number): number =>
    rounds.map(pick).sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? 0;
  return { p50: middle((round) => round.p50), p99: middle((round) => round.p99) };
}

interface Ends {
  readonly sidekey: Running;
  readonly upstream: Running;
  direct(streams: number): StreamPlan;
  viaSidekey(streams: number): StreamPlan;
  stop(): Promise<void>;
}

async function startEnds(): Promise<Ends> {
  const identity = await createLoopbackIdentity(HOST, Date.now());
  const upstream = await startScript("stream-upstream.ts", "others", { key: identity.keyPem, cert: identity.chainPem });
  const upstreamPort = Number(upstream.line);
  const sidekey = await startScript("sidekey.ts", "proxy", { upstreamPort, caPem: identity.caPem, limits: LIMITS });
  const { port, token } = JSON.parse(sidekey.line) as { port: number; token: string };
  const head = (path: string, more: string): string =>
    `GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\nAccept: text/event-stream\r\n${more}\r\n`;
  return {
    sidekey,
    upstream,
    direct: (streams) => ({
      port: upstreamPort,
      ca: identity.caPem,
      host: HOST,
      request: head("/hold", ""),
      streams,
    }),
    viaSidekey: (streams) => ({
      port,
      ca: null,
      host: HOST,
      request: head("/bench/hold", `X-Api-Key: ${token}\r\n`),
      streams,
    }),
    stop: async () => {
      await sidekey.stop();
      await upstream.stop();
    },
  };
}

async function openStreams(plan: StreamPlan): Promise<{ client: Running; opened: Opened }> {
  const client = await startScript("stream-client.ts", "others", plan);
  return { client, opened: JSON.parse(client.line) as Opened };
}

function descriptors(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return 0;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
