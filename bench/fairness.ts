import { createLoopbackIdentity } from "../src/daemon/loopback-identity.ts";
import { FLOOD_HOST, HOST } from "./fixture.ts";
import type { LoadPlan, LoadResult } from "./load.ts";
import { type Running, startScript } from "./process.ts";

/** How much a client that asks now and then notices of another one that floods. */

export interface Fairness {
  /** Milliseconds at percentiles, medians over the rounds. */
  readonly alone: { readonly p50: number; readonly p99: number };
  readonly flooded: { readonly p50: number; readonly p99: number };
  /** What the flood got. */
  readonly flood: { readonly perSecond: number; readonly refused: number };
}

const QUIET = { connections: 8, rate: 50 };
const FLOOD_CONNECTIONS = 256;
/** The flood begins first, so that all of the quiet client's requests meet it. */
const HEAD_START_MS = 500;

/**
 * @param path `/1k`: the provider takes no time, so the flood takes all of sidekey's; `/late`: it takes 100 ms
 * @param seconds of each measurement
 */
export async function fairness(path: string, seconds: number, rounds: number): Promise<Fairness> {
  const quiet = await startUpstream(HOST);
  const busy = await startUpstream(FLOOD_HOST);
  const { port: upstreamPort, caPem } = quiet;
  const sidekey = await startScript("sidekey.ts", "proxy", {
    upstreamPort,
    caPem,
    flood: { port: busy.port, caPem: busy.caPem },
  });
  const { port, token, floodToken } = JSON.parse(sidekey.line) as { port: number; token: string; floodToken: string };
  const planFor = (route: string, key: string): LoadPlan => ({
    port,
    tls: "none",
    host: HOST,
    ca: "",
    connect: null,
    request: `GET /${route}${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Api-Key: ${key}\r\n\r\n`,
    ...QUIET,
    seconds,
    requests: null,
    sse: false,
  });
  const floodPlan = { ...planFor("flood", floodToken), connections: FLOOD_CONNECTIONS, rate: null };
  const alone: LoadResult[] = [];
  const flooded: LoadResult[] = [];
  const floods: LoadResult[] = [];
  try {
    await run({ ...planFor("bench", token), seconds: 1 });
    for (let round = 0; round < rounds; round++) {
      alone.push(await run(planFor("bench", token)));
      const flood = run({ ...floodPlan, seconds: seconds + (2 * HEAD_START_MS) / 1000 });
      await new Promise((resolve) => setTimeout(resolve, HEAD_START_MS));
      flooded.push(await run(planFor("bench", token)));
      floods.push(await flood);
    }
  } finally {
    for (const running of [sidekey, quiet.running, busy.running]) await running.stop();
  }
  return {
    alone: percentiles(alone),
    flooded: percentiles(flooded),
    flood: {
      perSecond: median(floods.map((each) => each.requests / each.seconds)),
      refused: floods.reduce((sum, { errors }) => sum + errors, 0),
    },
  };
}

function percentiles(results: readonly LoadResult[]): { p50: number; p99: number } {
  return { p50: median(results.map(({ p50 }) => p50)), p99: median(results.map(({ p99 }) => p99)) };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

/** Each client has its own, so that they do not meet there. */
async function startUpstream(host: string): Promise<{ port: number; caPem: string; running: Running }> {
  const identity = await createLoopbackIdentity(host, Date.now());
  const running = await startScript("upstream.ts", "others", { key: identity.keyPem, cert: identity.chainPem });
  return { port: Number(running.line), caPem: identity.caPem, running };
}

async function run(plan: LoadPlan): Promise<LoadResult> {
  const { line } = await startScript("load.ts", "others", plan);
  return JSON.parse(line) as LoadResult;
}
