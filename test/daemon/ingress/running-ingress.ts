import { once } from "node:events";
import {
  type ClientHttp2Session,
  connect as connectHttp2,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from "node:http2";
import type { TestContext } from "node:test";
import { connect as tlsConnect } from "node:tls";
import {
  createRoot,
  type Intermediate,
  issueIntermediate,
  type Root,
} from "../../../src/daemon/ingress/certificate-authority.ts";
import { createLeafCache } from "../../../src/daemon/ingress/leaf-cache.ts";
import { createIngress, type Ingress, type IngressOptions } from "../../../src/daemon/ingress/server.ts";
import { WAITS } from "../../../src/daemon/ingress/waits.ts";
import type { Incoming, ParsedRequest } from "../../../src/daemon/pipeline/exchange.ts";
import type { PolicySnapshot } from "../../../src/policy/compile.ts";
import { compiled, withRoutes } from "../../policy/policy-fixture.ts";
import { connectRaw, type RawConnection } from "../../support/raw-client.ts";

/** A policy that intercepts api.p.test (443 and 8443) and data.p.test. */
const POLICY = compiled(
  withRoutes("  p: { provider: p, credentials: [p-main], clients: [app] }\n").replace(
    "version: 1",
    "version: 1\nunmatched: tunnel",
  ),
).snapshot;
const HOSTS = ["api.p.test", "data.p.test"];

let authority: Promise<{ root: Root; intermediate: Intermediate }> | null = null;

async function makeAuthority(): Promise<{ root: Root; intermediate: Intermediate }> {
  const root = await createRoot(Date.now());
  return { root, intermediate: await issueIntermediate(root, HOSTS, Date.now()) };
}

export interface RunningIngress {
  readonly ingress: Ingress;
  readonly port: number;
  /** PEM that clients of intercepted connections trust. */
  readonly caPem: string;
  /** What the pipeline was given, oldest first. */
  readonly seen: Incoming[];
  readonly policy: PolicySnapshot;
  /** Reasons of connections that ended before there was a request. */
  readonly refusals: string[];
  /** Every connection made with `connect`. */
  readonly clients: RawConnection[];
  /** A CONNECT that has been answered, ready for TLS. */
  connect(t: TestContext, target?: string, fields?: string): Promise<RawConnection>;
}

/** The proxy port with `handle` in the pipeline's place. The default answers 200 with the reading of the request. */
export async function startIngress(
  t: TestContext,
  handle: (incoming: Incoming, parsed: () => ParsedRequest) => Promise<void> | void = answerReading,
  options: Partial<IngressOptions> = {},
): Promise<RunningIngress> {
  authority ??= makeAuthority();
  const { root, intermediate } = await authority;
  const cache = createLeafCache(intermediate, HOSTS, { now: Date.now });
  const seen: Incoming[] = [];
  const refusals: string[] = [];
  const clients: RawConnection[] = [];
  const ingress = createIngress({
    pipeline: async (incoming) => {
      seen.push(incoming);
      await handle(incoming, () => incoming.parse(POLICY));
    },
    runTunnel: async ({ incoming }) => {
      seen.push(incoming);
      await handle(incoming, () => incoming.parse(POLICY));
    },
    knows: () => true,
    policy: () => POLICY,
    leafFor: (host) => cache.contextFor(host),
    localNames: new Set(["localhost", "127.0.0.1"]),
    maxConnections: 100,
    maxConnectionsPerAddress: 100,
    waits: WAITS,
    draining: () => false,
    vaultSealed: () => false,
    refused: (reason) => refusals.push(reason),
    ...options,
  });
  const { port } = await ingress.listen({ host: "127.0.0.1", port: 0 });
  t.after(() => {
    ingress.stopAccepting();
    ingress.destroy();
  });
  return {
    ingress,
    port,
    caPem: root.certificatePem,
    seen,
    policy: POLICY,
    refusals,
    clients,
    connect: async (context, target = "api.p.test:443", fields = "") => {
      const connection = await connectRaw(context, { port });
      clients.push(connection);
      await connection.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${fields}\r\n`);
      await connection.read((received) => received.includes("\r\n\r\n"));
      connection.discard();
      return connection;
    },
  };
}

function answerReading(incoming: Incoming, parsed: () => ParsedRequest): void {
  const { target, body } = parsed();
  body?.resume();
  const text = Buffer.from(`${target.form} ${target.host}:${target.port} ${target.path}`);
  const fields = ["Content-Type", "text/plain", "Content-Length", String(text.length)];
  incoming.downstream.sendHead(200, "", fields, true);
  incoming.downstream.write(text);
  incoming.downstream.end([]);
}

export interface StreamAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly trailers: IncomingHttpHeaders;
  /** HTTP/2 error code that the stream ended with; 0 = none. */
  readonly code: number;
}

/** An HTTP/2 client inside an intercepted CONNECT. */
export async function startSession(t: TestContext, run: RunningIngress): Promise<ClientHttp2Session> {
  const tunnel = await run.connect(t);
  const socket = tlsConnect({
    socket: tunnel.socket,
    ca: run.caPem,
    servername: "api.p.test",
    ALPNProtocols: ["h2"],
  });
  await once(socket, "secureConnect");
  const session = connectHttp2("https://api.p.test", { createConnection: () => socket });
  session.on("error", () => {});
  t.after(() => session.destroy());
  return session;
}

/** One request of an HTTP/2 session; resolves when its stream has closed. */
export function ask(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  body?: Uint8Array,
): Promise<StreamAnswer> {
  return new Promise((resolve) => {
    const stream = session.request(headers, { endStream: body === undefined });
    let received: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders = {};
    const chunks: Buffer[] = [];
    stream.on("response", (head) => {
      received = head;
    });
    stream.on("trailers", (fields) => {
      trailers = fields;
    });
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", () => {});
    stream.on("close", () => {
      const status = Number(received[":status"] ?? 0);
      const code = stream.rstCode ?? 0;
      resolve({ status, headers: received, body: Buffer.concat(chunks).toString("latin1"), trailers, code });
    });
    if (body !== undefined) stream.end(body);
  });
}
