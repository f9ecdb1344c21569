import { once } from "node:events";
import { type Socket, connect as tcpConnect } from "node:net";
import { connect as tlsConnect } from "node:tls";
import { residentBytes } from "./process.ts";
import type { Target } from "./targets.ts";

/** One 10 GB body through a proxy, and the most memory that the proxy had while it passed. */

export interface HugeResult {
  readonly gigabytes: number;
  readonly seconds: number;
  readonly beforeMegabytes: number;
  readonly peakMegabytes: number;
}

const SIZE = 10 * 1024 ** 3;
const PIECE = Buffer.alloc(256 * 1024, "u");

export async function download(target: Target): Promise<HugeResult> {
  return watched(target, async () => {
    const socket = await open(target, "/10g");
    socket.write(target.plan("/10g").request);
    let received = 0;
    socket.on("data", (chunk: Buffer) => {
      received += chunk.length;
      if (received >= SIZE) socket.destroy();
    });
    await once(socket, "close");
    return received;
  });
}

export async function upload(target: Target): Promise<HugeResult> {
  return watched(target, async () => {
    const socket = await open(target, "/in");
    const request = target.plan("/in").request.replace(/^GET/, "POST");
    socket.write(request.replace(/\r\n\r\n$/, `\r\nContent-Length: ${SIZE}\r\n\r\n`));
    const answered = once(socket, "data");
    for (let sent = 0; sent < SIZE; sent += PIECE.length) {
      if (!socket.write(PIECE)) await once(socket, "drain");
    }
    const [answer] = (await answered) as [Buffer];
    socket.destroy();
    if (!answer.includes("200 OK")) throw new Error(`the upload was answered ${answer.toString("latin1", 0, 60)}`);
    return SIZE;
  });
}

async function watched(target: Target, pass: () => Promise<number>): Promise<HugeResult> {
  const beforeMegabytes = residentBytes(target.pid) / 1e6;
  let peak = 0;
  const timer = setInterval(() => {
    peak = Math.max(peak, residentBytes(target.pid) / 1e6);
  }, 100);
  const startedAt = performance.now();
  const bytes = await pass();
  clearInterval(timer);
  return {
    gigabytes: bytes / 1024 ** 3,
    seconds: (performance.now() - startedAt) / 1000,
    beforeMegabytes,
    peakMegabytes: peak,
  };
}

async function open(target: Target, path: string): Promise<Socket> {
  const { port, tls, connect, host, ca } = target.plan(path);
  const raw = tcpConnect(port, "127.0.0.1");
  await once(raw, "connect");
  if (tls === "none") return raw;
  if (connect !== null) {
    raw.write(connect);
    await once(raw, "data");
  }
  const socket = tlsConnect({ socket: raw, servername: host, ca, ALPNProtocols: ["http/1.1"] });
  await once(socket, "secureConnect");
  return socket;
}
