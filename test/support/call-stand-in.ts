import type { TestContext } from "node:test";
import { createCallProvider } from "../../src/daemon/monitor/call-provider.ts";
import type { CallProvider } from "../../src/daemon/monitor/provider-call.ts";
import { Dialer } from "../../src/daemon/pipeline/dial.ts";
import { Splice } from "../../src/daemon/pipeline/splice.ts";
import { ready } from "../../src/store/crypto.ts";
import { type StandIn, type StandInHandler, startStandIn } from "./stand-in.ts";

/** A stand-in for several hosts of a provider over real TLS, and calls that reach it through the daemon's own doors. */
export async function callStandIn(
  t: TestContext,
  hostnames: readonly string[],
  handler: StandInHandler,
): Promise<{ standIn: StandIn; call: CallProvider }> {
  await ready();
  const standIn = await startStandIn(t, { hostnames, handler });
  const override = { address: "127.0.0.1", port: standIn.port, ca: standIn.caPem };
  const splice = new Splice();
  const dialer = new Dialer({
    overrides: new Map(hostnames.map((host) => [host, override])),
    proxy: null,
    isOwnListener: () => false,
    splice,
    socketsPerPool: 4,
  });
  t.after(() => dialer.close());
  return { standIn, call: createCallProvider(dialer, splice) };
}
