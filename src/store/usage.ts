import { Worker } from "node:worker_threads";
import {
  type LimitStateRow,
  type UsageAck,
  type UsageMessage,
  type UsageRecord,
  type UsageWorkerData,
  usageRow,
} from "./usage-record.ts";

/** Records that are sent to the worker without waiting for the timer. */
const BATCH_RECORDS = 500;
const DEFAULT_FLUSH_MS = 1000;
const DEFAULT_KEEP_DAYS = 90;
const DEFAULT_MAX_QUEUE = 10_000;
/** How often old usage is looked for. */
const SWEEP_EVERY_MS = 3_600_000;
/** A worker that does not end by itself is stopped after this; only a hanging disk gets here. */
const CLOSE_TIMEOUT_MS = 10_000;

export interface UsageOptions {
  /** Longest time that a record waits before it is sent to the disk. */
  flushMs?: number;
  /** Whole UTC days that are kept besides the current one. */
  keepDays?: number;
  /** Records that may wait; more are dropped and counted. */
  maxQueue?: number;
  /** Milliseconds since the epoch; decides what is old. */
  now?: () => number;
  /** Told once per change: what is wrong with usage.db and what to do. */
  onProblem?: (problem: string) => void;
}

export interface UsageWriter {
  /** Never blocks and never throws. */
  record(record: UsageRecord): void;
  /** Replaces the saved state of all limits. */
  saveLimitState(rows: readonly LimitStateRow[]): void;
  /** Records that are not on disk yet. */
  queued(): number;
  /** Records lost since the start: queue full, write failed or worker crashed. */
  dropped(): number;
  /** Resolves when everything recorded before is on disk or counted as dropped. */
  flush(): Promise<void>;
  /** Flushes and ends the worker. Records that come later are counted as dropped. */
  close(): Promise<void>;
}

/** Omits `id` from each member of the union, which plain Omit would merge. */
type WithoutId<T> = T extends unknown ? Omit<T, "id"> : never;

class ThreadedUsageWriter implements UsageWriter {
  readonly #data: UsageWorkerData;
  readonly #options: Required<UsageOptions>;
  readonly #sweeper: NodeJS.Timeout;
  /** Messages without an ack yet, with the number of records in each. */
  readonly #unacknowledged = new Map<number, number>();
  #worker: Worker | null = null;
  #restarts = 1;
  #waiting: UsageRecord[] = [];
  #timer: NodeJS.Timeout | null = null;
  #inFlight = 0;
  #dropped = 0;
  #lastId = 0;
  #closing: Promise<void> | null = null;
  #problem: string | null = null;
  #settled: (() => void)[] = [];

  constructor(path: string, options: UsageOptions) {
    this.#options = {
      flushMs: options.flushMs ?? DEFAULT_FLUSH_MS,
      keepDays: options.keepDays ?? DEFAULT_KEEP_DAYS,
      maxQueue: options.maxQueue ?? DEFAULT_MAX_QUEUE,
      now: options.now ?? Date.now,
      onProblem: options.onProblem ?? (() => {}),
    };
    this.#data = { path, keepDays: this.#options.keepDays };
    this.#start();
    this.#sweep();
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_EVERY_MS).unref();
  }

  record(record: UsageRecord): void {
    if (this.#worker === null || this.#closing !== null || this.queued() >= this.#options.maxQueue) {
      this.#dropped++;
      return;
    }
    this.#waiting.push(record);
    if (this.#waiting.length >= BATCH_RECORDS) this.#sendWaiting();
    else this.#timer ??= setTimeout(() => this.#sendWaiting(), this.#options.flushMs).unref();
  }

  saveLimitState(rows: readonly LimitStateRow[]): void {
    if (this.#closing === null) this.#send({ kind: "limits", rows });
  }

  queued(): number {
    return this.#waiting.length + this.#inFlight;
  }

  dropped(): number {
    return this.#dropped;
  }

  async flush(): Promise<void> {
    this.#sendWaiting();
    if (this.#unacknowledged.size === 0) return;
    // The worker alone does not keep the process alive; somebody who waits for it does.
    this.#worker?.ref();
    await new Promise<void>((resolve) => this.#settled.push(resolve));
    this.#worker?.unref();
  }

  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  async #end(): Promise<void> {
    clearInterval(this.#sweeper);
    this.#sendWaiting();
    const worker = this.#worker;
    if (worker === null) return;
    const ended = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
    worker.ref();
    this.#send({ kind: "close" });
    const timeout = setTimeout(() => void worker.terminate(), CLOSE_TIMEOUT_MS);
    await ended;
    clearTimeout(timeout);
  }

  #start(): void {
    const worker = new Worker(new URL("./usage-worker.ts", import.meta.url), {
      workerData: this.#data,
      name: "sidekey-usage",
      // The thread needs nothing from the environment, and its memory is bounded apart from the proxy's.
      env: {},
      resourceLimits: { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 4 },
    });
    worker.unref();
    worker.on("message", (ack: UsageAck) => this.#acknowledge(ack));
    worker.on("error", (error: unknown) => this.#report(error instanceof Error ? error.message : "worker failed"));
    worker.on("exit", () => this.#exited(worker));
    this.#worker = worker;
  }

  #exited(worker: Worker): void {
    if (this.#worker !== worker) return;
    this.#worker = null;
    // Not knowing whether a batch was committed, counting it as lost is the honest side to err on.
    for (const id of [...this.#unacknowledged.keys()]) this.#settle(id, true);
    if (this.#closing !== null) return;
    if (this.#restarts > 0) {
      this.#restarts--;
      this.#start();
      return;
    }
    this.#report("usage is not recorded any more: its writer failed twice; see the problem above and restart sidekey");
    this.#dropped += this.#waiting.length;
    this.#waiting = [];
  }

  #sweep(): void {
    this.#send({ kind: "sweep", nowMs: this.#options.now() });
  }

  #sendWaiting(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#waiting.length === 0) return;
    const records = this.#waiting;
    this.#waiting = [];
    this.#send({ kind: "batch", count: records.length, rows: JSON.stringify(records.map(usageRow)) });
  }

  #send(message: WithoutId<UsageMessage>): void {
    if (this.#worker === null) return;
    const id = ++this.#lastId;
    const count = message.kind === "batch" ? message.count : 0;
    this.#unacknowledged.set(id, count);
    this.#inFlight += count;
    this.#worker.postMessage({ ...message, id } satisfies UsageMessage);
  }

  #acknowledge({ id, problem }: UsageAck): void {
    if (problem === null) this.#problem = null;
    else this.#report(problem);
    this.#settle(id, problem !== null);
  }

  #settle(id: number, lost: boolean): void {
    const count = this.#unacknowledged.get(id) ?? 0;
    this.#unacknowledged.delete(id);
    this.#inFlight -= count;
    if (lost) this.#dropped += count;
    if (this.#unacknowledged.size > 0) return;
    for (const resolve of this.#settled.splice(0)) resolve();
  }

  #report(problem: string): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#options.onProblem(problem);
  }
}

/**
 * Starts the thread that writes usage.db. Recording is a push to a list; everything else (encoding, SQL,
 * disk) happens in the thread, in batches. A crash of the thread loses at most what was on its way, counts
 * it, restarts the thread once and never reaches the proxy.
 */
export function startUsageWriter(path: string, options: UsageOptions = {}): UsageWriter {
  return new ThreadedUsageWriter(path, options);
}
