import { readdirSync, readFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import type { TestContext } from "node:test";
import type { LimitsConfig } from "../../src/daemon/config-limits.ts";
import { credentialFor, hostOf, providerFile } from "../guarantees/scene.ts";
import { type SeparateDaemon, startSeparateDaemon } from "../guarantees/separate-daemon.ts";
import { makeCanary } from "../support/canary.ts";
import { pause } from "../support/running-sidekey.ts";
import { type StandInHandler, startStandIn } from "../support/stand-in.ts";
import type { FormTarget } from "./form-client.ts";

/** File descriptors that may come and go by themselves: the databases' files, a request of the test's own. */
const SPARE_DESCRIPTORS = 5;
const DEADLINE_MS = 15_000;

/** A daemon of its own process that one client floods while another one wants to be served. */
export interface FloodedDaemon extends SeparateDaemon {
  /** The two clients, as the sender of a form needs them. */
  readonly flood: FormTarget;
  readonly quiet: FormTarget;
  /** Status of one request by the quiet client, on a new connection. */
  served(): Promise<number>;
  descriptors(): number;
  residentBytes(): number;
  /** Waits until the daemon has as many descriptors as before the flood; returns how many more there are. */
  surplusDescriptors(eachTime?: () => void): Promise<number>;
  /** The provider closes all connections to it. */
  dropUpstream(): void;
  /** How often `reason` has been counted. */
  denials(reason: string): Promise<number>;
}

/** The provider answers `/quiet` at once and gives everything else to `handler`. */
export async function startFlooded(
  t: TestContext,
  limits: Partial<LimitsConfig>,
  handler: StandInHandler = () => ({ body: "ok" }),
): Promise<FloodedDaemon> {
  const host = hostOf("header");
  const standIn = await startStandIn(t, {
    hostnames: [host],
    handler: (request, socket) => (request.target === "/quiet" ? { body: "served" } : handler(request, socket)),
  });
  const daemon = await startSeparateDaemon(t, {
    policy: `version: 1
clients: { flood: { token: true }, quiet: { token: true } }
routes: { header: { provider: header, credentials: [header-main], clients: [flood, quiet] } }
`,
    providers: { header: providerFile("header") },
    credentials: { "header-main": credentialFor("header", makeCanary().text) },
    hosts: [[host, { port: standIn.port, caPem: standIn.caPem }]],
    clients: ["flood", "quiet"],
    limits,
  });
  const target = (client: string): FormTarget => ({ ...daemon, host, route: "header", client });
  const descriptors = (): number => readdirSync(`/proc/${daemon.pid}/fd`).length;
  const served = (): Promise<number> => ask(daemon.port, daemon.tokens.quiet ?? "");
  // What the first request makes stays: a secret, compiled code, a socket to the provider.
  await served();
  const before = descriptors();
  return {
    ...daemon,
    flood: target("flood"),
    quiet: target("quiet"),
    served,
    descriptors,
    residentBytes: () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${daemon.pid}/status`, "utf8"))?.[1]) * 1024,
    surplusDescriptors: async (eachTime = () => {}) => {
      const deadline = performance.now() + DEADLINE_MS;
      while (descriptors() > before + SPARE_DESCRIPTORS && performance.now() < deadline) {
        eachTime();
        await pause(20);
      }
      return Math.max(0, descriptors() - before - SPARE_DESCRIPTORS);
    },
    dropUpstream: standIn.dropConnections,
    denials: async (reason) => {
      const text = await (await fetch(`${daemon.metricsUrl}/metrics`)).text();
      return Number(new RegExp(`denials_total\\{reason="${reason}"\\} (\\d+)`).exec(text)?.[1] ?? 0);
    },
  };
}

function ask(port: number, token: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      host: "127.0.0.1",
      port,
      path: "/header/quiet",
      agent: false,
      headers: { "x-api-key": token },
    });
    request.once("response", (response) => {
      response.resume().once("end", () => resolve(response.statusCode ?? 0));
    });
    request.once("error", reject).end();
  });
}
