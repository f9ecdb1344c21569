import { createServer } from "node:tls";
import { Secret } from "../../secret.ts";
import { randomBytes } from "../../store/crypto.ts";
import { Dialer } from "./dial.ts";
import { Splice } from "./splice.ts";

const HOST = "self-check.sidekey.test";
const DEADLINE_MS = 5_000;

/** The loopback peer's certificate. */
export interface SelfCheckIdentity {
  readonly chainPem: string;
  readonly keyPem: string;
  readonly caPem: string;
}

export const SELF_CHECK_HOST = HOST;

/**
 * Sends one request through dial and splice to a loopback peer and compares what arrives, byte for byte.
 * A library upgrade that writes heads in another way must stop the daemon, not break or leak requests.
 * @throws Error when the secret did not arrive exactly where the marker was
 */
export async function checkSplice(identity: SelfCheckIdentity): Promise<void> {
  const canary = Buffer.from(`check-${randomBytes(12).toString("hex")}`, "latin1");
  const secret = Secret.copyOf(canary);
  const splice = new Splice();
  const peer = await startPeer(identity);
  const dialer = new Dialer({
    overrides: new Map([[HOST, { address: "127.0.0.1", port: peer.port, ca: identity.caPem }]]),
    proxy: null,
    isOwnListener: () => false,
    splice,
    socketsPerPool: 1,
  });
  try {
    const received = await exchangeOnce(dialer, splice, secret, peer.received);
    const expected = Buffer.concat([Buffer.from("\r\nx-check: "), canary, Buffer.from("\r\n")]);
    if (!received.includes(expected)) {
      throw new Error("self-check: the HTTP library writes request heads in a way that the splice does not know");
    }
  } finally {
    secret.wipe();
    await dialer.close();
    peer.close();
  }
}

async function exchangeOnce(
  dialer: Dialer,
  splice: Splice,
  secret: Secret,
  received: Promise<Buffer>,
): Promise<Buffer> {
  const binding = { authority: `${HOST}:443`, route: "self-check", client: "self-check" };
  const slot = splice.open(secret, binding, new Set([binding.authority]));
  const pool = dialer.pool({
    host: HOST,
    port: 443,
    route: binding.route,
    client: binding.client,
    tls: true,
    private: [],
    connectTimeoutMs: DEADLINE_MS,
    keepAlive: false,
  });
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("self-check: the loopback peer did not answer")), DEADLINE_MS);
    pool.dispatch(
      { origin: "", path: "/", method: "GET", headers: ["x-check", slot.marker] },
      {
        onRequestStart() {},
        onResponseStart() {},
        onResponseData() {},
        onResponseEnd() {
          clearTimeout(timer);
          resolve();
        },
        onResponseError(_controller, error) {
          clearTimeout(timer);
          reject(error);
        },
      },
    );
  });
  slot.release();
  return received;
}

async function startPeer(
  identity: SelfCheckIdentity,
): Promise<{ port: number; received: Promise<Buffer>; close(): void }> {
  let got: (head: Buffer) => void = () => {};
  const received = new Promise<Buffer>((resolve) => {
    got = resolve;
  });
  const server = createServer({ key: identity.keyPem, cert: identity.chainPem }, (socket) => {
    const chunks: Buffer[] = [];
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      const head = Buffer.concat(chunks);
      if (!head.includes("\r\n\r\n")) return;
      got(head);
      socket.end("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  return { port: typeof address === "object" && address ? address.port : 0, received, close: () => server.close() };
}
