import { once } from "node:events";
import { type Socket, connect as tcpConnect } from "node:net";
import { createInterface } from "node:readline";
import { connect as tlsConnect } from "node:tls";

/**
 * Opens many event streams and counts what comes, in a process of its own. Reads a `StreamPlan` as one JSON line from
 * stdin and prints `{ open, failed }` once every stream has begun or failed; prints `EventDelays` each time every open
 * stream has had one more event.
 */

export interface StreamPlan {
  readonly port: number;
  /** Authority of the server, when it speaks TLS itself. */
  readonly ca: string | null;
  readonly host: string;
  readonly request: string;
  readonly streams: number;
}

export interface Opened {
  readonly open: number;
  readonly failed: number;
}

/** Milliseconds from the provider's write to here. */
export interface EventDelays {
  readonly p50: number;
  readonly p99: number;
}

/** Connections that are being opened at the same time. */
const AT_ONCE = 100;

let open = 0;
let delays: number[] = [];

createInterface({ input: process.stdin }).on("line", (line) => void start(JSON.parse(line) as StreamPlan));

async function start(plan: StreamPlan): Promise<void> {
  let begun = 0;
  let failed = 0;
  const opener = async (): Promise<void> => {
    while (begun < plan.streams) {
      begun++;
      if (await openStream(plan)) open++;
      else failed++;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, opener));
  print({ open, failed } satisfies Opened);
}

/** True once the stream has begun. */
async function openStream(plan: StreamPlan): Promise<boolean> {
  const socket = connectTo(plan);
  let text = "";
  const began = new Promise<boolean>((resolve) => {
    socket.on("error", () => resolve(false)).on("close", () => resolve(false));
    socket.on("data", (chunk: Buffer) => {
      const now = performance.timeOrigin + performance.now();
      text = (text + chunk.toString("latin1")).slice(-400);
      if (text.includes(": open\n\n")) resolve(true);
      for (const [, sentAt] of text.matchAll(/data: ([0-9.]+)\n\n/g)) eventCame(now - Number(sentAt));
      if (text.endsWith("\n\n\r\n")) text = "";
    });
  });
  try {
    await once(socket, plan.ca === null ? "connect" : "secureConnect");
  } catch {
    return false;
  }
  socket.write(plan.request);
  return began;
}

function connectTo({ port, ca, host }: StreamPlan): Socket {
  if (ca === null) return tcpConnect(port, "127.0.0.1");
  return tlsConnect({ port, host: "127.0.0.1", servername: host, ca, ALPNProtocols: ["http/1.1"] });
}

function eventCame(delay: number): void {
  delays.push(delay);
  if (delays.length < open) return;
  const sorted = delays.sort((a, b) => a - b);
  delays = [];
  const at = (share: number): number => sorted[Math.floor((sorted.length - 1) * share)] ?? 0;
  print({ p50: at(0.5), p99: at(0.99) } satisfies EventDelays);
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
