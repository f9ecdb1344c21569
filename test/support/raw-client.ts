import { connect as tcpConnect } from "node:net";
import type { Duplex } from "node:stream";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as tlsConnect } from "node:tls";

const DEFAULT_TIMEOUT_MS = 5_000;

export interface RawTls {
  readonly ca: string;
  readonly servername: string;
  readonly alpn?: readonly string[];
}

export interface RawTarget {
  readonly port: number;
  /** Defaults to 127.0.0.1. */
  readonly host?: string;
  readonly tls?: RawTls;
}

export interface RawReply {
  readonly bytes: Buffer;
  /** `bytes` as latin1, so that every byte is one character. */
  readonly text: string;
  /** What ended the wait. */
  readonly ended: "close" | "until" | "timeout" | "error";
  readonly error: Error | null;
}

/** A connection whose bytes a test writes and reads itself. */
export interface RawConnection {
  readonly socket: Duplex;
  /** Writes the pieces in order, each with its own write call. `pauseMs` waits between them. */
  write(pieces: string | Uint8Array | readonly (string | Uint8Array)[], pauseMs?: number): Promise<void>;
  /** Waits until `enough` says yes to everything received so far, the peer closes, or `timeoutMs` passes. */
  read(enough?: (received: Buffer) => boolean, timeoutMs?: number): Promise<RawReply>;
  /** Forgets what has been received, so that the next `read` sees only what comes after. */
  discard(): void;
  /** Starts TLS inside this connection, as a client does after its CONNECT was answered. */
  startTls(options: RawTls): Promise<RawConnection>;
  close(): void;
}

/** Opens a connection that is destroyed when the test ends. */
export async function connectRaw(t: TestContext, target: RawTarget): Promise<RawConnection> {
  const tcp = tcpConnect({ port: target.port, host: target.host ?? "127.0.0.1", allowHalfOpen: true });
  t.after(() => tcp.destroy());
  tcp.on("error", ignoreLate);
  await opened(tcp, "connect");
  return target.tls ? secured(tcp, target.tls) : connectionOver(tcp);
}

/** Sends `bytes` and collects the answer until the peer closes (or `until` is content, or the time is up). */
export async function sendRaw(
  t: TestContext,
  target: RawTarget & {
    readonly bytes: string | Uint8Array | readonly (string | Uint8Array)[];
    readonly pauseMs?: number;
    readonly until?: (received: Buffer) => boolean;
    readonly timeoutMs?: number;
  },
): Promise<RawReply> {
  const connection = await connectRaw(t, target);
  await connection.write(target.bytes, target.pauseMs);
  const reply = await connection.read(target.until, target.timeoutMs);
  connection.close();
  return reply;
}

/** For `read`: true once a whole response head and the body that its Content-Length announces are there. */
export function wholeResponse(received: Buffer): boolean {
  const text = received.toString("latin1");
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return false;
  const length = /^content-length:[ \t]*(\d+)[ \t]*$/im.exec(text.slice(0, end))?.[1];
  return received.length >= end + 4 + Number(length ?? 0);
}

async function secured(under: Duplex, tls: RawTls): Promise<RawConnection> {
  const socket = tlsConnect({
    socket: under,
    ca: tls.ca,
    servername: tls.servername,
    ...(tls.alpn ? { ALPNProtocols: [...tls.alpn] } : {}),
  });
  under.once("close", () => socket.destroy());
  socket.on("error", ignoreLate);
  await opened(socket, "secureConnect");
  return connectionOver(socket);
}

// A reset after the test has read what it wanted must not end the process; `read` reports the ones that matter.
function ignoreLate(): void {}

function opened(socket: Duplex, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.once("close", () => reject(new Error(`closed before ${event}`)));
    socket.once(event, () => {
      socket.removeListener("error", reject);
      resolve();
    });
  });
}

function connectionOver(socket: Duplex): RawConnection {
  let chunks: Buffer[] = [];
  let state: { ended: "close" | "error"; error: Error | null } | null = null;
  let wake = (): void => {};
  const onData = (chunk: Buffer): void => {
    chunks.push(chunk);
    wake();
  };
  const onEnd = (ended: "close" | "error", error: Error | null): void => {
    state ??= { ended, error };
    wake();
  };
  const onError = (error: Error): void => onEnd("error", error);
  const onClose = (): void => onEnd("close", null);
  socket.on("data", onData).on("error", onError).on("end", onClose).on("close", onClose);

  return {
    socket,
    async write(pieces, pauseMs = 0) {
      const list = typeof pieces === "string" || pieces instanceof Uint8Array ? [pieces] : pieces;
      for (const [index, piece] of list.entries()) {
        if (index > 0 && pauseMs > 0) await sleep(pauseMs);
        // The peer may hang up first; that is an answer and `read` reports it.
        if (socket.writable) await new Promise<void>((resolve) => socket.write(asBytes(piece), () => resolve()));
      }
    },
    async read(enough = () => false, timeoutMs = DEFAULT_TIMEOUT_MS) {
      const reply = (ended: RawReply["ended"]): RawReply => {
        const bytes = Buffer.concat(chunks);
        return { bytes, text: bytes.toString("latin1"), ended, error: state?.error ?? null };
      };
      const deadline = Date.now() + timeoutMs;
      for (;;) {
        if (enough(Buffer.concat(chunks))) return reply("until");
        if (state) return reply(state.ended);
        const left = deadline - Date.now();
        if (left <= 0) return reply("timeout");
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, left);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
    },
    discard() {
      chunks = [];
    },
    async startTls(options) {
      socket.off("data", onData).off("error", onError).off("end", onClose).off("close", onClose);
      return secured(socket, options);
    },
    close() {
      socket.destroy();
    },
  };
}

// Strings are latin1: one character is one byte on the wire.
function asBytes(piece: string | Uint8Array): Uint8Array {
  return typeof piece === "string" ? Buffer.from(piece, "latin1") : piece;
}
