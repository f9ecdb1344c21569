import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { websocketAccept } from "../../store/crypto.ts";
import { type ScrubRule, scrubRaw } from "./answer-head.ts";
import { ProxyError } from "./errors.ts";
import type { ExchangeState } from "./exchange-state.ts";
import type { Upgraded } from "./forward.ts";
import { responseFields } from "./headers.ts";
import { WebSocketScrub } from "./websocket-scrub.ts";

/** Two pipelines over the same two sockets listen more often than Node expects of anything that is no leak. */
const MAX_LISTENERS = 30;

/** How two sockets are joined. */
export interface Relay {
  readonly idleMs: number;
  /** Null: the provider's frames pass unread. */
  readonly scrub: ScrubRule | null;
}

/**
 * Joins the two sockets of an accepted WebSocket. The upstream must have proved that it understood the
 * handshake (RFC 6455 section 4.1), or the client would get a raw connection with the key already spent on it.
 */
export async function relayWebSocket(upgraded: Upgraded, key: string, x: ExchangeState, rules: Relay): Promise<void> {
  const { socket, fields } = upgraded;
  const { scrub, idleMs } = rules;
  if (fieldValue(fields, "sec-websocket-accept") !== websocketAccept(key)) {
    socket.destroy();
    throw new ProxyError("upstream_protocol", "the provider's WebSocket handshake is not valid (Sec-WebSocket-Accept)");
  }
  const { raw, count } = scrubRaw(fields, scrub);
  x.scrubbed += count;
  const passed = responseFields(raw, { stripCookies: true, stripAuthenticate: true }, true);
  const client = clientSide(x, socket, ["Connection", "Upgrade", "Upgrade", "websocket", ...passed]);
  x.transfer.status = 101;
  if (x.incoming.upgradeHead?.length) socket.write(x.incoming.upgradeHead);
  x.countBytes(client, socket);
  closeWhenIdle(socket, client, idleMs);
  for (const end of [client, socket]) end.setMaxListeners(MAX_LISTENERS);
  const scrubber = scrub === null ? null : new WebSocketScrub(scrub);
  // Either side's end or error ends both; which one it was does not change the outcome.
  const down = scrubber === null ? pipeline(socket, client) : pipeline(socket, scrubber, client);
  const [, passing] = await Promise.allSettled([pipeline(client, socket), down]);
  x.scrubbed += scrubber?.scrubbed ?? 0;
  if (passing.status === "rejected" && passing.reason instanceof ProxyError) throw passing.reason;
}

/** The client may have gone meanwhile; the provider's connection must not stay open for nobody. */
function clientSide(x: ExchangeState, up: Duplex, fields: readonly string[]): Duplex {
  try {
    return x.incoming.downstream.switchProtocols(fields);
  } catch (cause) {
    up.destroy();
    throw new ProxyError("client_closed", "the client closed the connection", { cause });
  }
}

function fieldValue(fields: readonly Buffer[], wanted: string): string | null {
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i]?.toString("latin1").toLowerCase() === wanted) return fields[i + 1]?.toString("latin1") ?? null;
  }
  return null;
}

function closeWhenIdle(up: Duplex, down: Duplex, idleMs: number): void {
  let lastByteAt = performance.now();
  const touch = (): void => {
    lastByteAt = performance.now();
  };
  up.on("data", touch);
  down.on("data", touch);
  const timer = setInterval(
    () => {
      if (performance.now() - lastByteAt < idleMs) return;
      up.destroy();
      down.destroy();
    },
    Math.max(100, idleMs / 4),
  );
  timer.unref();
  up.once("close", () => clearInterval(timer));
}
