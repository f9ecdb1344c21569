import { z } from "zod";
import { duration } from "./config-value.ts";

/** `limits` of daemon.yaml: what protects the process as a whole. Limits for providers are policy. */

export interface LimitsConfig {
  /** Open client connections. */
  readonly connections: number;
  /** The same from one address of another machine. */
  readonly connectionsPerAddress: number;
  /** Exchanges that one client may have in flight. */
  readonly connectionsPerClient: number;
  /** Upstream sockets of one client on one route to one place. */
  readonly socketsPerPool: number;
  /** How long a client may send or read next to nothing. */
  readonly slowClientMs: number;
}

const MOST = 65_536;
const CONNECTIONS = 4096;
/** One address may have a part of all connections. */
const ADDRESS_PART = 1 / 4;
const PER_CLIENT = 256;
const SOCKETS_PER_POOL = 64;

const count = z.int().min(1).max(MOST);

export const limitsSchema = z
  .strictObject({
    connections: count.default(CONNECTIONS),
    connectionsPerAddress: count.optional(),
    connectionsPerClient: count.default(PER_CLIENT),
    socketsPerPool: count.optional(),
    slowClient: duration(100, 3_600_000).prefault("30s"),
  })
  .transform(
    ({ connections, connectionsPerAddress, connectionsPerClient, socketsPerPool, slowClient }): LimitsConfig => ({
      connections,
      connectionsPerAddress: connectionsPerAddress ?? Math.ceil(connections * ADDRESS_PART),
      connectionsPerClient,
      // Who lets a client have more requests in flight than usual wants them to be sent, not to wait for a socket.
      socketsPerPool: socketsPerPool ?? (connectionsPerClient > PER_CLIENT ? connectionsPerClient : SOCKETS_PER_POOL),
      slowClientMs: slowClient,
    }),
  );

export const DEFAULT_LIMITS: LimitsConfig = limitsSchema.parse({});
