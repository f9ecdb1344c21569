import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import { sha256 } from "../store/crypto.ts";
import { createLoopbackIdentity } from "./loopback-identity.ts";
import type { HostOverride } from "./pipeline/dial.ts";

/** The name that the demo provider answers to. Reserved (RFC 6761), so it can never be somebody else's. */
export const DEMO_HOST = "demo.sidekey.test";

export interface Demo {
  /** The entry for the dialer: where the name leads, and who vouches for it. */
  readonly override: readonly [string, HostOverride];
  close(): void;
}

/**
 * A real TLS service on loopback that tells what it received, so that a first request can be seen to
 * arrive with its key. It is dialled, verified and spliced like any provider. It never sends the key back:
 * it says how long it is and a fingerprint.
 */
export async function startDemo(nowMs: number): Promise<Demo> {
  const identity = await createLoopbackIdentity(DEMO_HOST, nowMs);
  const server = createServer({ key: identity.keyPem, cert: identity.chainPem, minVersion: "TLSv1.2" }, answer);
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  server.unref();
  const address = server.address();
  return {
    override: [
      DEMO_HOST,
      { address: "127.0.0.1", port: typeof address === "object" && address ? address.port : 0, ca: identity.caPem },
    ],
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

const KEY_FIELD = "x-demo-key";

function answer(request: IncomingMessage, response: ServerResponse): void {
  request.resume();
  request.once("end", () => {
    const received = describeKey(request.rawHeaders);
    const [path = "/"] = (request.url ?? "/").split("?");
    const body = `${JSON.stringify(
      {
        message: received === null ? "This request arrived without a key." : "This request arrived with its key.",
        method: request.method,
        path,
        host: request.headers.host,
        key_received: received,
        header_fields: fieldNames(request.rawHeaders),
      },
      null,
      2,
    )}\n`;
    response.writeHead(received === null ? 401 : 200, { "content-type": "application/json" });
    response.end(body);
  });
}

/** The header holds the demo key only; it exists for this installation alone and opens nothing. */
function describeKey(raw: readonly string[]): { field: string; length: number; sha256: string } | null {
  for (let i = 0; i < raw.length; i += 2) {
    if (raw[i]?.toLowerCase() !== KEY_FIELD) continue;
    const value = raw[i + 1] ?? "";
    return { field: KEY_FIELD, length: value.length, sha256: `${sha256(value).toString("hex").slice(0, 16)}...` };
  }
  return null;
}

function fieldNames(raw: readonly string[]): string[] {
  return raw.filter((_, index) => index % 2 === 0);
}
