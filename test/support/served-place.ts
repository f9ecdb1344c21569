import { randomInt } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { CliPlace } from "./cli-process.ts";

const DEADLINE_MS = 20_000;

/** Writes ports that are free now into the daemon.yaml of `config`; returns the proxy's. */
export async function freePortsIn(config: string): Promise<number> {
  const file = join(config, "daemon.yaml");
  let text = readFileSync(file, "utf8");
  const ports: number[] = [];
  for (const usual of ["8787", "8788", "9477"]) {
    const port = await freePort();
    ports.push(port);
    text = text.replace(`127.0.0.1:${usual}`, `127.0.0.1:${port}`);
  }
  writeFileSync(file, text);
  return ports[0] ?? 0;
}

/** Below the ports that systems give to connections and to listeners of port 0, so that no other test gets it meanwhile. */
const FIRST_PORT = 20_000;
const PORTS = 12_000;

/** A port that nobody listens on now, on any interface. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + randomInt(PORTS);
    const server = createServer();
    const listening = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, () => resolve(true));
    });
    if (!listening) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

/** What `sidekey status --json` prints once it exits with `code`. @throws Error when it does not in time */
export async function untilStatus(place: CliPlace, code: number): Promise<Record<string, unknown>> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const status = await place.run(["status", "--json"]);
    if (status.code === code && status.stdout !== "") return JSON.parse(status.stdout) as Record<string, unknown>;
    if (performance.now() > deadline) throw new Error(`status exits with ${status.code}: ${status.all}`);
    await pause(50);
  }
}
