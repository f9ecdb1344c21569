import type { TestContext } from "node:test";
import { type RunningSidekey, type SidekeyOptions, startSidekey } from "../support/running-sidekey.ts";
import { type StandIn, startStandIn } from "../support/stand-in.ts";

/** A provider without a key that is reached over plain HTTP at an address the test chooses, such as a local gateway. */
export interface PlainScene {
  readonly sidekey: RunningSidekey;
  readonly standIn: StandIn;
  readonly host: string;
}

export interface PlainOptions {
  readonly resolve: SidekeyOptions["resolve"];
  /** More lines for the route, such as `private: [127.0.0.0/8]`. */
  readonly route?: string;
  /** Where the name leads by configuration. */
  readonly hosts?: SidekeyOptions["hosts"];
  readonly unmatched?: "deny" | "tunnel";
  /** Default: the stand-in's. */
  readonly port?: number;
  readonly name?: string;
  readonly config?: SidekeyOptions["config"];
}

export async function startPlainScene(t: TestContext, options: PlainOptions): Promise<PlainScene> {
  const standIn = await startStandIn(t, { hostnames: ["plain.test"], tls: false });
  const host = `${options.name ?? "api.plain.test"}:${options.port ?? standIn.port}`;
  const provider = `id: plain
name: plain
category: demo
docs: https://plain.test/docs
sources: ["made for a test (S)"]
environments:
  live: { hosts: ["${host}"] }
fields: {}
auth:
  - scheme: none
`;
  const policy = `version: 1
unmatched: ${options.unmatched ?? "deny"}
clients: { app: { token: true } }
routes:
  plain: { provider: plain, credentials: [], clients: [app], upstream: http, ${options.route ?? "keepAlive: false"} }
`;
  const sidekey = await startSidekey(t, {
    policy,
    providers: { plain: provider },
    ...(options.resolve ? { resolve: options.resolve } : {}),
    ...(options.hosts ? { hosts: options.hosts } : {}),
    ...(options.config ? { config: options.config } : {}),
  });
  return { sidekey, standIn, host };
}
