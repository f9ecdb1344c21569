import { createLoopbackIdentity } from "../src/daemon/loopback-identity.ts";
import { FLOOD_HOST, HOST } from "./fixture.ts";
import type { LoadPlan, LoadResult } from "./load.ts";
import { type Running, startScript } from "./process.ts";

/** How much a client that asks now and then notices of another one that floods. */

export interface Fairness {
  readonly alone: LoadResult;
  readonly flooded: LoadResult;
  /** The flood itself: answers and refusals per second. */
  readonly flood: { readonly perSecond: number; readonly errors: number; readonly p99: number };
}

const QUIET = { connections: 4, rate: 100 };
const FLOOD_CONNECTIONS = 256;
/** The flood begins first, so that all of the quiet client's requests meet it. */
const HEAD_START_MS = 1_000;

/** @param seconds of each of the two measurements */
export async function fairness(seconds: number): Promise<Fairness> {
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
    request: `GET /${route}/1k HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Api-Key: ${key}\r\n\r\n`,
    connections: QUIET.connections,
    seconds,
    rate: QUIET.rate,
    requests: null,
    sse: false,
  });
  try {
    await run({ ...planFor("bench", token), seconds: 1 });
    const alone = await run(planFor("bench", token));
    const flood = run({
      ...planFor("flood", floodToken),
      connections: FLOOD_CONNECTIONS,
      rate: null,
      seconds: seconds + (2 * HEAD_START_MS) / 1000,
    });
    await new Promise((resolve) => setTimeout(resolve, HEAD_START_MS));
    const flooded = await run(planFor("bench", token));
    const { requests, errors, seconds: took, p99 } = await flood;
    return { alone, flooded, flood: { perSecond: requests / took, errors, p99 } };
  } finally {
    for (const running of [sidekey, quiet.running, busy.running]) await running.stop();
  }
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
