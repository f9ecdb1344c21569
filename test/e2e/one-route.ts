import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { get } from "node:http";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import type { TestContext } from "node:test";
import { queryUsage } from "../../src/store/usage-query.ts";
import { type RunningSidekey, type SidekeyOptions, startSidekey } from "../support/running-sidekey.ts";
import type { FormTarget } from "./form-client.ts";

/** The provider that protocol tests use, from the shipped catalog: its key goes into Authorization. */
export const HOST = "api.openai.com";
export const KEY = `sk-${randomBytes(24).toString("hex")}`;

/** One dollar per million tokens of `gpt-t`: a token costs a thousand nano-dollars. */
export const PRICES = `version: 1
table: test
providers:
  openai:
    models:
      - { names: [gpt-t], prices: [{ from: 2020-01-01, input: 1, output: 1 }] }
`;

export interface OneRoute extends RunningSidekey, FormTarget {}

/** A sidekey with one route that leads to `provider`; `more` is appended to the route's map. */
export async function oneRoute(
  t: TestContext,
  provider: { readonly port: number; readonly caPem: string | null },
  more = "",
  options: Partial<SidekeyOptions> = {},
): Promise<OneRoute> {
  const route = `{ provider: openai, credentials: [main], clients: [app]${more === "" ? "" : `, ${more}`} }`;
  const sidekey = await startSidekey(t, {
    policy: `version: 1\nclients: { app: { token: true } }\nroutes:\n  openai: ${route}\n`,
    credentials: { main: { provider: "openai", hosts: [HOST], fields: { api_key: KEY } } },
    hosts: { [HOST]: { port: provider.port, caPem: provider.caPem } },
    ...options,
  });
  return { ...sidekey, host: HOST, route: "openai" };
}

/** The recorded outcomes, once there are as many. */
export async function outcomes(sidekey: RunningSidekey, count: number): Promise<string[]> {
  return (await sidekey.requestsLogged(count)).map((line) => String(line.outcome));
}

/** What the daemon counts, from its control socket. */
export function daemonCounts(sidekey: RunningSidekey): Promise<Record<string, number>> {
  return new Promise((resolve, reject) => {
    get({ socketPath: join(sidekey.dataDir, "daemon.sock"), path: "/status" }, (response) => {
      json(response).then((status) => resolve((status as { counts: Record<string, number> }).counts), reject);
    }).once("error", reject);
  });
}

/** Stops the daemon, and checks that its log and its usage rows tell of exactly `count` exchanges (guarantee G12). */
export async function recordsAgree(sidekey: RunningSidekey, count: number): Promise<void> {
  await sidekey.requestsLogged(count);
  await sidekey.daemon.stop();
  const rows = queryUsage(join(sidekey.dataDir, "usage.db"), { by: "hour", sinceMs: 0 });
  const recorded = rows.reduce((sum, row) => sum + row.requests, 0);
  assert.deepEqual([sidekey.requests().length, recorded], [count, count], sidekey.log());
}
