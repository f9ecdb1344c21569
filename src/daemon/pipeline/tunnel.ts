import type { Socket } from "node:net";
import { pipeline as joinStreams } from "node:stream/promises";
import type { PolicySnapshot } from "../../policy/compile.ts";
import { decide } from "../../policy/decide.ts";
import { authenticate } from "./authenticate.ts";
import { denial } from "./denial.ts";
import { draining, ProxyError, toProxyError, vaultSealed } from "./errors.ts";
import type { Incoming, RequestTarget } from "./exchange.ts";
import { ExchangeState } from "./exchange-state.ts";
import type { PipelineOptions } from "./pipeline.ts";

/**
 * A CONNECT that is not intercepted: refused, or (with `unmatched: tunnel`) joined byte for byte with a
 * vetted public address. No secret is involved; the same stages decide and one Outcome is left.
 */

export interface TunnelRequest {
  readonly incoming: Incoming;
  /** Answers 200 and gives the client's socket. */
  readonly accept: () => Socket;
  /** Resolves with the client's first bytes once they are a ClientHello for the target; else throws. */
  readonly firstBytes: (client: Socket, host: string) => Promise<Buffer>;
}

const HTTPS_PORT = 443;
const CONNECT_MS = 5_000;
const IDLE_MS = 300_000;

/** Runs one CONNECT that no route names. */
export async function runTunnel(tunnel: TunnelRequest, options: PipelineOptions): Promise<void> {
  const x = new ExchangeState(tunnel.incoming, options.now());
  let failure: ProxyError | null = null;
  try {
    if (options.draining()) throw draining();
    const policy = options.policy();
    x.parsed = tunnel.incoming.parse(policy);
    if (options.vaultSealed()) throw vaultSealed();
    admit(policy, x, x.parsed.target, options);
    const turn = options.gate.enter(x);
    if (turn) await turn;
    await join(tunnel, x, x.parsed.target, options);
  } catch (error) {
    failure = toProxyError(error);
    x.fail(failure);
  } finally {
    options.gate.leave(x);
    options.record(x.outcome(), failure);
  }
}

function admit(policy: PolicySnapshot, x: ExchangeState, target: RequestTarget, options: PipelineOptions): void {
  const { incoming } = x;
  x.identity = authenticate(
    policy,
    options.tokens(),
    {
      fields: incoming.fields,
      query: "",
      carriers: null,
      connectAuthorization: null,
      bodyToken: null,
      remoteAddress: incoming.remoteAddress,
    },
    x.atMs,
  );
  const decision = decide(policy, {
    host: target.host,
    port: target.port,
    path: "/",
    method: "CONNECT",
    client: x.identity.client,
    phase: "connect",
  });
  if (decision.allow) throw new ProxyError("internal", "a host with a route was about to be tunnelled");
  const tunnelled = policy.unmatched === "tunnel" && decision.reason === "host_not_in_policy";
  if (!tunnelled) throw denial(decision, x.identity.client);
  if (target.port !== HTTPS_PORT) {
    throw new ProxyError("not_allowed", "tunnels lead to port 443 only", { reason: "tunnel_port" });
  }
}

async function join(
  tunnel: TunnelRequest,
  x: ExchangeState,
  target: RequestTarget,
  options: PipelineOptions,
): Promise<void> {
  const upstream = await options.dialer.tunnel(target.host, target.port, CONNECT_MS);
  x.dispatched();
  const client = tunnel.accept();
  x.transfer.status = 200;
  const hungUp = (): void => void client.destroy();
  upstream.on("error", hungUp).on("close", hungUp);
  try {
    upstream.write(await tunnel.firstBytes(client, target.host));
  } catch (error) {
    const lost = upstream.destroyed;
    upstream.destroy();
    client.destroy();
    throw lost ? new ProxyError("upstream_connect", "the host closed the connection", { reason: "reset" }) : error;
  }
  // From here on what is still on its way is delivered first.
  upstream.off("close", hungUp).off("error", hungUp);
  upstream.setTimeout(IDLE_MS, () => upstream.destroy());
  x.countBytes(client, upstream);
  await Promise.allSettled([joinStreams(client, upstream), joinStreams(upstream, client)]);
}
