import { type Socket, connect as tcpConnect } from "node:net";
import { connect as tlsConnect } from "node:tls";

/**
 * A load generator that costs little: prepared requests, answers only counted (their length is known from the
 * first head), no HTTP library. It runs in a process of its own: reads one JSON `LoadPlan` from stdin, prints one
 * JSON `LoadResult`.
 */

export interface LoadPlan {
  /** Where to connect, and whether TLS begins at once or after a CONNECT. */
  readonly port: number;
  readonly tls: "none" | "direct" | "connect";
  readonly host: string;
  readonly ca: string;
  /** Head of the CONNECT, when `tls` is "connect". */
  readonly connect: string | null;
  /** The whole request. */
  readonly request: string;
  readonly connections: number;
  readonly seconds: number;
  /** Requests per second for an open loop; null for a closed loop. */
  readonly rate: number | null;
  /** Stop after so many requests, whatever the time; null for no bound. */
  readonly requests: number | null;
  readonly sse: boolean;
}

export interface LoadResult {
  readonly requests: number;
  readonly bytes: number;
  readonly errors: number;
  readonly seconds: number;
  /** Milliseconds at percentiles. */
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

class Connection {
  readonly #socket: Socket;
  #expected = -1;
  #received = 0;
  #head: Buffer = Buffer.alloc(0);
  #done: (() => void) | null = null;
  failed = false;
  onEvent: ((sentAt: number) => void) | null = null;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("error", () => this.#fail());
    socket.on("close", () => this.#fail());
  }

  get busy(): boolean {
    return this.#done !== null;
  }

  send(request: Buffer, done: () => void): void {
    this.#expected = -1;
    this.#received = 0;
    this.#head = Buffer.alloc(0);
    this.#done = done;
    this.#socket.write(request);
  }

  end(): void {
    this.#done = null;
    this.#socket.destroy();
  }

  #fail(): void {
    this.failed = true;
    this.#settle();
  }

  #settle(): void {
    const done = this.#done;
    this.#done = null;
    done?.();
  }

  #take(chunk: Buffer): void {
    bytes += chunk.length;
    this.#received += chunk.length;
    if (this.onEvent) {
      this.#takeEvents(chunk, this.onEvent);
      return;
    }
    if (this.#expected === -1) {
      this.#head = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk]);
      const end = this.#head.indexOf("\r\n\r\n");
      if (end === -1) return;
      const head = this.#head.toString("latin1", 0, end);
      const length = /content-length: (\d+)/i.exec(head)?.[1];
      const chunked = /transfer-encoding: chunked/i.test(head);
      if (!head.startsWith("HTTP/1.1 200") || (length === undefined && !chunked)) errors++;
      this.#expected = chunked ? Number.POSITIVE_INFINITY : end + 4 + Number(length ?? 0);
    }
    // The bodies of the benchmarks do not end as a last chunk does.
    const isLastChunk = this.#expected === Number.POSITIVE_INFINITY && chunk.subarray(-5).equals(LAST_CHUNK);
    if (this.#received >= this.#expected || isLastChunk) this.#settle();
  }

  #takeEvents(chunk: Buffer, onEvent: (sentAt: number) => void): void {
    const text = chunk.toString("latin1");
    for (const match of text.matchAll(/data: ([0-9.]+)\n/g)) onEvent(Number(match[1]));
    if (text.endsWith("0\r\n\r\n")) this.#settle();
  }
}

const LAST_CHUNK = Buffer.from("0\r\n\r\n");

let bytes = 0;
let errors = 0;

function open(plan: LoadPlan): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const raw = tcpConnect(plan.port, "127.0.0.1");
    raw.once("error", reject);
    const secure = (): void => {
      const socket = tlsConnect({ socket: raw, servername: plan.host, ca: plan.ca, ALPNProtocols: ["http/1.1"] });
      socket.once("error", reject);
      socket.once("secureConnect", () => resolve(new Connection(socket)));
    };
    raw.once("connect", () => {
      if (plan.tls === "none") return resolve(new Connection(raw));
      if (plan.tls === "direct") return secure();
      raw.write(plan.connect ?? "");
      raw.once("data", (chunk: Buffer) => {
        if (/^HTTP\/1\.[01] 200/.test(chunk.toString("latin1", 0, 12))) secure();
        else reject(new Error(`CONNECT was refused: ${chunk.toString("latin1", 0, 60)}`));
      });
    });
  });
}

function closedLoop(plan: LoadPlan, connections: Connection[], samples: number[]): Promise<void> {
  const request = Buffer.from(plan.request, "latin1");
  const until = performance.now() + plan.seconds * 1000;
  let sent = 0;
  return new Promise((resolve) => {
    let running = connections.length;
    for (const connection of connections) {
      const next = (): void => {
        if (performance.now() >= until || connection.failed || (plan.requests !== null && sent >= plan.requests)) {
          if (connection.failed) errors++;
          running--;
          if (running === 0) resolve();
          return;
        }
        sent++;
        const at = performance.now();
        connection.send(request, () => {
          samples.push(performance.now() - at);
          next();
        });
      };
      next();
    }
  });
}

/** Arrivals keep their schedule whatever the answers do; latency counts from when a request was due. */
function openLoop(plan: LoadPlan, connections: Connection[], samples: number[]): Promise<void> {
  const request = Buffer.from(plan.request, "latin1");
  const gap = 1000 / (plan.rate ?? 1000);
  const start = performance.now();
  const total = Math.round(plan.seconds * (plan.rate ?? 1000));
  let issued = 0;
  let finished = 0;
  const waiting: number[] = [];
  return new Promise((resolve) => {
    const serve = (due: number, connection: Connection): void => {
      connection.send(request, () => {
        samples.push(performance.now() - due);
        finished++;
        const next = waiting.shift();
        if (next !== undefined) serve(next, connection);
        if (finished === total) resolve();
      });
    };
    const tick = (): void => {
      const now = performance.now();
      while (issued < total && start + issued * gap <= now) {
        const due = start + issued * gap;
        issued++;
        const free = connections.find((connection) => !connection.busy);
        if (free) serve(due, free);
        else waiting.push(due);
      }
      if (issued < total) setImmediate(tick);
    };
    tick();
  });
}

async function eventLoop(plan: LoadPlan, connections: Connection[], samples: number[]): Promise<void> {
  const request = Buffer.from(plan.request, "latin1");
  const until = performance.now() + plan.seconds * 1000;
  while (performance.now() < until) {
    await Promise.all(
      connections.map(
        (connection) =>
          new Promise<void>((resolve) => {
            let first = true;
            connection.onEvent = (sentAt) => {
              if (first) samples.push(performance.timeOrigin + performance.now() - sentAt);
              first = false;
            };
            connection.send(request, resolve);
          }),
      ),
    );
  }
}

async function main(plan: LoadPlan): Promise<LoadResult> {
  const connections = await Promise.all(Array.from({ length: plan.connections }, () => open(plan)));
  const samples: number[] = [];
  const startedAt = performance.now();
  if (plan.sse) await eventLoop(plan, connections, samples);
  else if (plan.rate === null) await closedLoop(plan, connections, samples);
  else await openLoop(plan, connections, samples);
  const seconds = (performance.now() - startedAt) / 1000;
  for (const connection of connections) connection.end();
  samples.sort((a, b) => a - b);
  const at = (share: number): number => samples[Math.min(samples.length - 1, Math.floor(samples.length * share))] ?? 0;
  return { requests: samples.length, bytes, errors, seconds, p50: at(0.5), p99: at(0.99), max: at(1) };
}

if (process.argv[1]?.endsWith("load.ts")) {
  process.stdin.once("data", (line) => {
    void main(JSON.parse(line.toString()) as LoadPlan).then((result) => {
      process.stdout.write(`${JSON.stringify(result)}\n`);
      process.exit(0);
    });
  });
}
