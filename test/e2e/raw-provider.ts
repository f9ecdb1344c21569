import type { TestContext } from "node:test";
import { createServer, type TLSSocket } from "node:tls";
import { makeAuthority } from "../support/test-authority.ts";

/** One connection of sidekey's to the provider, after the first request head has been read from it. */
export interface ProviderCall {
  readonly socket: TLSSocket;
  readonly head: string;
  /** What came behind the head already; the rest is still in `socket`, which is paused. */
  readonly rest: Buffer;
  /** 1 for the first connection, and so on. */
  readonly connection: number;
  /** Resolves once sidekey has closed or reset the connection. */
  readonly closed: Promise<void>;
}

export interface RawProvider {
  readonly port: number;
  readonly caPem: string;
  connections(): number;
  /** Resolves with the n-th call, counted from 1. */
  call(n: number): Promise<ProviderCall>;
}

/** A provider whose bytes the test writes itself, and which keeps nothing of what it receives. */
export async function startRawProvider(
  t: TestContext,
  hostname: string,
  serve: (call: ProviderCall) => void = () => {},
): Promise<RawProvider> {
  const authority = makeAuthority();
  const leaf = authority.issue({ hostnames: [hostname] });
  const sockets = new Set<TLSSocket>();
  const calls: ProviderCall[] = [];
  let arrived = (): void => {};
  let connections = 0;
  const server = createServer({ cert: leaf.certPem, key: leaf.keyPem }, (socket) => {
    const connection = ++connections;
    sockets.add(socket);
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    socket.on("error", () => socket.destroy());
    void firstHead(socket).then(({ head, rest }) => {
      const call = { socket, head, rest, connection, closed };
      calls.push(call);
      serve(call);
      arrived();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  return {
    port: typeof address === "object" && address ? address.port : 0,
    caPem: authority.caPem,
    connections: () => connections,
    call: async (n) => {
      for (;;) {
        const call = calls[n - 1];
        if (call) return call;
        await new Promise<void>((resolve) => {
          arrived = resolve;
        });
      }
    },
  };
}

function firstHead(socket: TLSSocket): Promise<{ head: string; rest: Buffer }> {
  return new Promise((resolve) => {
    let bytes = Buffer.alloc(0);
    const onData = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      const end = bytes.indexOf("\r\n\r\n");
      if (end === -1) return;
      socket.off("data", onData);
      socket.pause();
      resolve({ head: bytes.toString("latin1", 0, end), rest: bytes.subarray(end + 4) });
    };
    socket.on("data", onData);
  });
}
