import { createServer } from "node:tls";
import { createLoopbackIdentity } from "../loopback-identity.ts";
import { Dialer } from "../pipeline/dial.ts";
import { Splice } from "../pipeline/splice.ts";
import type { CallProvider } from "./provider-call.ts";

const HOST = "wash.sidekey.test";
const DEADLINE_MS = 5_000;
/**
 * Answer sizes in bytes, head included: each just under a step in which the HTTP parser's buffer grows, smallest first
 * because it leaves its old buffer behind when it does; the last one is just under the largest TLS record.
 */
const SIZES = [3_900, 8_000, 12_100, 16_200];

/**
 * Calls whose answers may hold a new key. TLS and the HTTP parser read into buffers of their own that they use again
 * but never clear, so each answer is followed by meaningless ones, from a peer in this process, that overwrite it.
 */
export function washing(call: CallProvider): CallProvider {
  return async (asked) => {
    try {
      return await call(asked);
    } finally {
      // A key that stays in such a buffer a little longer is no reason to lose the answer.
      await wash().catch(() => {});
    }
  };
}

/** Overwrites what the last answers left in the process's network buffers, up to 16 KiB of each. */
export async function wash(): Promise<void> {
  const identity = await createLoopbackIdentity(HOST, Date.now());
  let size = 0;
  const server = createServer({ key: identity.keyPem, cert: identity.chainPem }, (socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.end(answerOf(size)));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  const dialer = new Dialer({
    overrides: new Map([[HOST, { address: "127.0.0.1", port, ca: identity.caPem }]]),
    proxy: null,
    isOwnListener: () => false,
    splice: new Splice(),
    socketsPerPool: 1,
  });
  try {
    for (size of SIZES) await request(dialer);
  } finally {
    await dialer.close();
    server.close();
  }
}

function answerOf(size: number): string {
  const head = (length: number) => `HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${length}\r\n\r\n`;
  const length = size - head(size).length;
  return head(length) + ".".repeat(length);
}

function request(dialer: Dialer): Promise<void> {
  const pool = dialer.pool({
    host: HOST,
    port: 443,
    route: "wash",
    client: "wash",
    tls: true,
    private: [],
    connectTimeoutMs: DEADLINE_MS,
    keepAlive: false,
  });
  return new Promise((resolve, reject) => {
    pool.dispatch(
      { origin: "", path: "/", method: "GET", headersTimeout: DEADLINE_MS, bodyTimeout: DEADLINE_MS, reset: true },
      {
        onRequestStart() {},
        onResponseStart() {},
        onResponseData() {},
        onResponseEnd: () => resolve(),
        onResponseError: (_controller, error) => reject(error),
      },
    );
  });
}
