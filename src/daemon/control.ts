import { chmodSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { Secret, secretBuffer } from "../secret.ts";
import { KEY_BYTES } from "../store/crypto.ts";
import type { Outcome } from "./pipeline/exchange.ts";

/**
 * The daemon's own socket in the data directory (0600): `sidekey status`, `policy reload` and
 * `requests --follow` talk to it. It gives no secret; the only one it takes is the root key, which `vault unseal` and
 * `vault rotate` have opened.
 */

export interface ControlHandlers {
  status(): Record<string, unknown>;
  reload(): Promise<{ ok: boolean; problems: readonly string[] }>;
  /** Wipes the vault's keys. */
  seal(): void;
  /** Unseals with the vault's root key, which the server wipes afterwards. Rejects when it is not this vault's. */
  unseal(root: Secret): Promise<void>;
  /** The root key that another process is about to put in place. */
  expectRoot(root: Secret): void;
}

export interface Control {
  /** Sends an outcome to everyone who follows. A follower that reads too slowly loses lines, not the daemon time. */
  publish(outcome: Outcome): void;
  close(): void;
}

/** Bytes that may wait for one slow follower. */
const FOLLOWER_BACKLOG = 256 * 1024;

/** @throws Error when another daemon already serves this data directory */
export async function startControl(path: string, handlers: ControlHandlers): Promise<Control> {
  if (await answers(path)) throw new ControlInUse(path);
  rmSync(path, { force: true });
  const followers = new Set<ServerResponse>();
  const server = createServer((request, response) => {
    handle(request, response, handlers, followers).catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
  chmodSync(path, 0o600);
  server.unref();
  return {
    publish: (outcome) => {
      if (followers.size === 0) return;
      const line = `${JSON.stringify(told(outcome))}\n`;
      for (const follower of followers) {
        if (follower.writableLength < FOLLOWER_BACKLOG) follower.write(line);
      }
    },
    close: () => {
      server.close();
      server.closeAllConnections();
      rmSync(path, { force: true });
    },
  };
}

/** Without the provider's own words for a failure: some repeat the key in them, and a route may not scrub. */
function told(outcome: Outcome): unknown {
  if (outcome.usage === null) return outcome;
  const { failure: _, ...usage } = outcome.usage;
  return { ...outcome, usage };
}

export class ControlInUse extends Error {
  constructor(path: string) {
    super(`another sidekey daemon already serves this data directory (it answers on ${path})`);
    this.name = "ControlInUse";
  }
}

async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  handlers: ControlHandlers,
  followers: Set<ServerResponse>,
): Promise<void> {
  const call = `${request.method} ${request.url}`;
  if (call !== "POST /unseal" && call !== "POST /root") request.resume();
  if (call === "GET /status") return sendJson(response, 200, handlers.status());
  if (call === "POST /reload") {
    const result = await handlers.reload();
    return sendJson(response, result.ok ? 200 : 422, result);
  }
  if (call === "POST /seal") {
    handlers.seal();
    return sendJson(response, 200, { ok: true, problems: [] });
  }
  if (call === "POST /unseal" || call === "POST /root") {
    const act = call === "POST /unseal" ? handlers.unseal : handlers.expectRoot;
    return sendJson(response, ...(await withRoot(request, act)));
  }
  if (call !== "GET /requests") return sendJson(response, 404, { error: "no such call" });
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  response.flushHeaders();
  followers.add(response);
  response.once("close", () => followers.delete(response));
}

type Answer = [status: number, value: unknown];

/** Lends the request's body, the root key, to `act` and wipes every copy of it. */
async function withRoot(request: IncomingMessage, act: (root: Secret) => void | Promise<void>): Promise<Answer> {
  const root = secretBuffer(KEY_BYTES);
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    if (length + chunk.length <= root.length) root.set(chunk, length);
    length += chunk.length;
    chunk.fill(0);
  }
  const secret = Secret.adopt(root);
  try {
    if (length !== KEY_BYTES) return [400, { ok: false, problems: [`a root key has ${KEY_BYTES} bytes`] }];
    await act(secret);
    return [200, { ok: true, problems: [] }];
  } catch (error) {
    return [409, { ok: false, problems: [error instanceof Error ? error.message : "it could not be opened"] }];
  } finally {
    secret.wipe();
  }
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(`${JSON.stringify(value)}\n`);
}

/** Whether a daemon listens there. A socket file that nobody answers on is left over from a killed one. */
export function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
