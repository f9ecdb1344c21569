import { createServer, type Server } from "node:http";
import type { Metrics } from "./metrics.ts";

export interface Health {
  /** False while the vault is sealed or the daemon drains: no traffic should be sent here. */
  ready(): { ok: boolean; reason: string };
  /** Brings the numbers up to date. */
  beforeScrape(): void;
}

/** `/metrics`, `/healthz`, `/readyz` and nothing else. */
export function createMetricsServer(metrics: Metrics, health: Health): Server {
  return createServer(
    { maxHeaderSize: 8 * 1024, headersTimeout: 5_000, requestTimeout: 10_000 },
    (request, response) => {
      const reply = (status: number, type: string, body: string): void => {
        response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
        response.end(request.method === "HEAD" ? undefined : body);
      };
      if (request.method !== "GET" && request.method !== "HEAD") return reply(405, "text/plain", "use GET\n");
      const [path] = (request.url ?? "").split("?");
      if (path === "/healthz") return reply(200, "text/plain", "ok\n");
      if (path === "/readyz") {
        const { ok, reason } = health.ready();
        return reply(ok ? 200 : 503, "text/plain", `${reason}\n`);
      }
      if (path !== "/metrics") return reply(404, "text/plain", "only /metrics, /healthz and /readyz are here\n");
      health.beforeScrape();
      metrics.render().then(
        (text) => reply(200, metrics.contentType, text),
        () => reply(500, "text/plain", "metrics could not be rendered\n"),
      );
    },
  );
}
