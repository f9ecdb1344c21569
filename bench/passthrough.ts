import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { Pool } from "undici";

/**
 * The least that a Node proxy can do: node:http in front, undici behind, no policy, no key, no records. Sidekey is
 * measured against this. Reads `{ upstreamPort, caPem, host, key, cert }` from stdin, prints its port.
 */

interface Plan {
  readonly upstreamPort: number;
  readonly caPem: string;
  readonly host: string;
  readonly key: string;
  readonly cert: string;
}

process.stdin.once("data", (line) => {
  const plan = JSON.parse(line.toString()) as Plan;
  const pool = new Pool(`https://${plan.host}:${plan.upstreamPort}`, {
    connections: 64,
    pipelining: 1,
    connect: {
      ca: plan.caPem,
      servername: plan.host,
      lookup: (_name, _options, done) => done(null, [{ address: "127.0.0.1", family: 4 }]),
    },
  });
  const handler = (request: IncomingMessage, response: ServerResponse): void => {
    const url = request.url ?? "/";
    const path = url.startsWith("/") ? url : new URL(url).pathname;
    const headers: string[] = [];
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      const name = request.rawHeaders[i] ?? "";
      if (!/^(host|connection|proxy-.*|content-length|transfer-encoding)$/i.test(name))
        headers.push(name, request.rawHeaders[i + 1] ?? "");
    }
    const hasBody =
      request.headers["content-length"] !== undefined || request.headers["transfer-encoding"] !== undefined;
    pool.dispatch(
      { origin: "", path, method: (request.method ?? "GET") as "GET", headers, body: hasBody ? request : null },
      {
        onRequestStart() {},
        onResponseStart(controller, status) {
          const raw = controller.rawHeaders as unknown as Buffer[];
          response.writeHead(
            status,
            raw.map((part) => part.toString("latin1")),
          );
        },
        onResponseData(controller, chunk) {
          if (response.write(chunk)) return;
          controller.pause();
          response.once("drain", () => controller.resume());
        },
        onResponseEnd() {
          response.end();
        },
        onResponseError() {
          response.destroy();
        },
      },
    );
  };
  const outer = createServer(handler);
  const inner = createServer(handler);
  const tls = createTlsServer({ key: plan.key, cert: plan.cert, ALPNProtocols: ["http/1.1"] }, (socket: TLSSocket) =>
    inner.emit("connection", socket),
  );
  outer.on("connect", (_request, socket) => {
    socket.write("HTTP/1.1 200 OK\r\n\r\n");
    tls.emit("connection", socket);
  });
  outer.listen(0, "127.0.0.1", () => {
    const address = outer.address();
    process.stdout.write(`${typeof address === "object" && address ? address.port : 0}\n`);
  });
});

process.once("SIGTERM", () => process.exit(0));
