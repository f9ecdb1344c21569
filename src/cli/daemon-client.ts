import { type ClientRequest, type IncomingMessage, request } from "node:http";
import { join } from "node:path";
import type { Secret } from "../secret.ts";
import type { Alert } from "../store/alerts.ts";
import { CliError } from "./failure.ts";

const ANSWER_TIMEOUT_MS = 5000;
const MAX_ANSWER_BYTES = 1024 * 1024;
const MAX_EVENT_BYTES = 64 * 1024;

/** What `GET /status` on the daemon's socket answers. */
export interface DaemonStatus {
  readonly pid: number;
  /** epoch milliseconds */
  readonly startedAt: number;
  readonly version: string;
  readonly sealed: boolean;
  /** Why; null while it is not sealed. */
  readonly sealedBecause: string | null;
  readonly sealedCategories: readonly string[];
  readonly policy: { readonly revision: string; readonly ok: boolean; readonly problems: readonly string[] };
  /** Absent from a daemon of an older version. */
  readonly prices?: {
    readonly table: string;
    readonly ok: boolean;
    readonly problems: readonly string[];
    readonly warnings: readonly string[];
  };
  readonly listeners: Readonly<Record<string, string | null>>;
  /** Absent from a daemon of an older version. */
  readonly alerts?: readonly Alert[];
  readonly counts: Readonly<Record<string, number>>;
  readonly queue: Readonly<Record<string, number>>;
}

export interface ReloadAnswer {
  readonly ok: boolean;
  readonly problems: readonly string[];
}

/** Talks to the running daemon over its Unix socket. */
export interface DaemonClient {
  /** @throws CliError (exit 1) when no daemon answers; so do all of these. */
  status(): Promise<DaemonStatus>;
  reload(): Promise<ReloadAnswer>;
  /** Wipes the vault's keys from its memory. */
  seal(): Promise<ReloadAnswer>;
  /** Hands over the opened root key, which the caller wipes. */
  unseal(root: Secret): Promise<ReloadAnswer>;
  /** Announces the root key that is about to be put in place. The caller wipes it. */
  expectRoot(root: Secret): Promise<ReloadAnswer>;
  /** Outcomes as they happen, one object each, until the daemon stops or `signal` aborts. */
  follow(signal: AbortSignal): AsyncIterable<Readonly<Record<string, unknown>>>;
}

/** The daemon's socket inside the data directory. */
export function daemonSocketPath(dataDir: string): string {
  return join(dataDir, "daemon.sock");
}

export function createDaemonClient(dataDir: string): DaemonClient {
  const socketPath = daemonSocketPath(dataDir);
  return {
    status: async () => (await fetchJson(socketPath, "GET", "/status")) as DaemonStatus,
    reload: async () => (await fetchJson(socketPath, "POST", "/reload")) as ReloadAnswer,
    seal: async () => (await fetchJson(socketPath, "POST", "/seal")) as ReloadAnswer,
    unseal: async (root) => (await fetchJson(socketPath, "POST", "/unseal", root)) as ReloadAnswer,
    expectRoot: async (root) => (await fetchJson(socketPath, "POST", "/root", root)) as ReloadAnswer,
    follow: (signal) => followEvents(socketPath, signal),
  };
}

async function fetchJson(
  socketPath: string,
  method: string,
  path: string,
  body: Secret | null = null,
): Promise<unknown> {
  const answer = await send(socketPath, { method, path, signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS), body });
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES) throw new CliError(`the daemon's answer to ${path} is too long`);
    chunks.push(chunk);
  }
  const value = parseJson(Buffer.concat(chunks).toString("utf8"));
  // A refused reload is an answer too: it carries the problems.
  if (value === undefined || (answer.statusCode !== 200 && !hasProblems(value))) {
    throw new CliError(`the daemon answered ${answer.statusCode} to ${method} ${path}`, {
      nextStep: "is it the same version as this command? see `sidekey status` and the daemon's log",
    });
  }
  return value;
}

function hasProblems(value: unknown): boolean {
  return typeof value === "object" && value !== null && "problems" in value;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function* followEvents(
  socketPath: string,
  signal: AbortSignal,
): AsyncIterable<Readonly<Record<string, unknown>>> {
  const answer = await send(socketPath, { method: "GET", path: "/requests", signal, body: null });
  if (answer.statusCode !== 200) throw new CliError(`the daemon answered ${answer.statusCode} to GET /requests`);
  answer.setEncoding("utf8");
  let partial = "";
  try {
    for await (const text of answer as AsyncIterable<string>) {
      const lines = (partial + text).split("\n");
      partial = lines.pop() ?? "";
      if (partial.length > MAX_EVENT_BYTES) throw new CliError("the daemon sent a line that is too long");
      for (const line of lines) {
        const event = line === "" ? undefined : parseJson(line);
        if (typeof event === "object" && event !== null) yield event as Readonly<Record<string, unknown>>;
      }
    }
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof CliError) throw error;
    throw new CliError("the daemon stopped");
  }
}

interface Call {
  readonly method: string;
  readonly path: string;
  readonly signal: AbortSignal;
  readonly body: Secret | null;
}

function send(socketPath: string, call: Call): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { method, path, signal, body } = call;
    const outgoing = request({ socketPath, method, path, signal, headers: { host: "localhost" } });
    outgoing.once("response", resolve);
    outgoing.once("error", () => {
      reject(
        new CliError(`no daemon answers on ${socketPath}`, {
          nextStep: "start it with `sidekey up` (or `sidekey serve`)",
        }),
      );
    });
    if (body === null) outgoing.end();
    // A copy of its own, because it is written later than the caller may wipe the original.
    else sendSecret(outgoing, body);
  });
}

function sendSecret(outgoing: ClientRequest, body: Secret): void {
  const copy = body.copy();
  copy.use((bytes) => {
    outgoing.setHeader("content-length", bytes.length);
    outgoing.end(bytes);
  });
  outgoing.once("close", () => copy.wipe());
}
