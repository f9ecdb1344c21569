import { createSocket } from "node:dgram";
import { readFile } from "node:fs/promises";
import { request } from "node:https";
import { connect } from "node:net";
import { hostname } from "node:os";
import { hmacSha256 } from "../../store/crypto.ts";
import type { AnchorConfig, SyslogAddress, WebhookConfig } from "../config-anchor.ts";
import type { AlertKind } from "./alert-kinds.ts";

/*
 * Sends audit.anchor to places outside this machine's reach whenever it has moved. Each line is complete in itself:
 * `sidekey audit verify --anchor` compares the vault with any of them. Nothing here touches the vault, so neither a
 * slow nor a dead receiver can hold up a write.
 */

/** Where failures are reported; the calls never throw. */
export interface AnchorAlerts {
  raise(kind: AlertKind, object: string, severity: "info" | "warning" | "critical", message: string): void;
  clear(kind: AlertKind, object: string): void;
}

export interface AnchorPublisher {
  /** Looks and sends now; resolves when every receiver has it or has failed. */
  publish(): Promise<void>;
  close(): void;
}

interface Sink {
  readonly name: string;
  readonly send: (line: string, signal: AbortSignal) => Promise<void>;
  /** The last line that arrived. */
  delivered: string | null;
}

const ALERT = "anchor_not_sent";
const TIMEOUT_MS = 10_000;
const MAX_ANCHOR_BYTES = 4096;
/** Facility 13 (log audit), severity 5 (notice): RFC 5424 section 6.2.1. */
const PRIORITY = 13 * 8 + 5;

/**
 * @param options.file `audit.anchor`; it is replaced atomically, so a read sees a whole line
 * @param options.timeoutMs how long one receiver may take
 */
export function startAnchorPublisher(options: {
  readonly file: string;
  readonly config: AnchorConfig;
  readonly alerts: AnchorAlerts;
  readonly now: () => number;
  readonly timeoutMs?: number;
}): AnchorPublisher {
  const { file, config, alerts, now, timeoutMs = TIMEOUT_MS } = options;
  const sinks = sinksOf(config, now);
  const closing = new AbortController();
  let running: Promise<void> | null = null;
  const deliver = async (sink: Sink, line: string): Promise<void> => {
    try {
      await sink.send(line, AbortSignal.any([closing.signal, AbortSignal.timeout(timeoutMs)]));
      sink.delivered = line;
      alerts.clear(ALERT, `anchor:${sink.name}`);
    } catch (error) {
      if (!closing.signal.aborted) alerts.raise(ALERT, `anchor:${sink.name}`, "warning", failureText(sink.name, error));
    }
  };
  const round = async (): Promise<void> => {
    const line = await readAnchorLine(file);
    if (line === null) {
      alerts.raise(ALERT, "anchor:file", "warning", `${file} cannot be read; run \`sidekey audit verify\``);
      return;
    }
    alerts.clear(ALERT, "anchor:file");
    await Promise.all(sinks.filter(({ delivered }) => delivered !== line).map((sink) => deliver(sink, line)));
  };
  const publish = (): Promise<void> => {
    running ??= round().finally(() => {
      running = null;
    });
    return running;
  };
  const timer = setInterval(() => void publish(), config.everyMs).unref();
  void publish();
  return {
    publish,
    close: () => {
      clearInterval(timer);
      closing.abort();
      config.webhook?.secret?.wipe();
    },
  };
}

async function readAnchorLine(file: string): Promise<string | null> {
  try {
    const text = (await readFile(file, "utf8")).trim();
    return text !== "" && text.length <= MAX_ANCHOR_BYTES ? text : null;
  } catch {
    return null;
  }
}

/** What failed, without an address of the receiver beyond its name in daemon.yaml. */
function failureText(name: string, error: unknown): string {
  const { code, message, name: kind } = error as NodeJS.ErrnoException;
  const timeout = kind === "TimeoutError" || kind === "AbortError" ? "no answer in time" : null;
  const why = error instanceof Refused ? message : (timeout ?? code ?? "failed");
  return `the audit anchor could not be sent to anchor.${name} (${why}); check it in daemon.yaml and the receiver`;
}

/** The receiver answered, and it was no acceptance. */
class Refused extends Error {}

function sinksOf({ syslog, webhook }: AnchorConfig, now: () => number): Sink[] {
  const sinks: Sink[] = [];
  if (syslog !== null) {
    const send: Sink["send"] = (line, signal) => sendSyslog(syslog, syslogMessage(line, now()), signal);
    sinks.push({ name: "syslog", send, delivered: null });
  }
  if (webhook !== null) {
    sinks.push({ name: "webhook", send: (line, signal) => post(webhook, line, signal), delivered: null });
  }
  return sinks;
}

/** One RFC 5424 message. @param at ms since the epoch */
export function syslogMessage(line: string, at: number): Buffer {
  const host = hostname().replace(/[^\x21-\x7e]/g, "") || "-";
  return Buffer.from(`<${PRIORITY}>1 ${new Date(at).toISOString()} ${host} sidekey ${process.pid} anchor - ${line}`);
}

function sendSyslog(to: SyslogAddress, message: Buffer, signal: AbortSignal): Promise<void> {
  return to.kind === "udp" ? sendDatagram(to, message, signal) : sendStream(to, message, signal);
}

function sendDatagram({ host, port }: { host: string; port: number }, message: Buffer, signal: AbortSignal) {
  return new Promise<void>((resolve, reject) => {
    const socket = createSocket({ type: host.includes(":") ? "udp6" : "udp4", signal });
    const settle = (error: Error | null): void => {
      if (!signal.aborted) socket.close();
      if (error === null) resolve();
      else reject(error);
    };
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    socket.once("error", settle);
    socket.send(message, port, host, settle);
  });
}

/** Octet counting, RFC 6587 section 3.4.1. Done when the other side has taken all of it. */
function sendStream(to: Exclude<SyslogAddress, { kind: "udp" }>, message: Buffer, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = to.kind === "unix" ? connect(to.path) : connect(to.port, to.host);
    const abort = (): void => void socket.destroy(signal.reason as Error);
    signal.addEventListener("abort", abort, { once: true });
    socket.once("error", reject);
    socket.once("close", () => {
      signal.removeEventListener("abort", abort);
      reject(new Error("closed early"));
    });
    socket.resume();
    socket.end(Buffer.concat([Buffer.from(`${message.length} `), message]), () => {
      resolve();
      socket.destroySoon();
    });
  });
}

/** The line as the body, over verified TLS; with a secret, signed as `Sidekey-Signature: sha256=<HMAC-SHA-256 in hex>`. */
function post({ url, ca, secret }: WebhookConfig, line: string, signal: AbortSignal): Promise<void> {
  const body = Buffer.from(line);
  const signature = secret?.use((key) => hmacSha256(key, body).toString("hex"));
  return new Promise((resolve, reject) => {
    const call = request(url, {
      method: "POST",
      agent: false,
      signal,
      rejectUnauthorized: true,
      minVersion: "TLSv1.2",
      ...(ca === null ? {} : { ca }),
      headers: {
        "content-type": "application/json",
        "content-length": body.length,
        "user-agent": "sidekey",
        ...(signature === undefined ? {} : { "sidekey-signature": `sha256=${signature}` }),
      },
    });
    call.once("error", reject);
    call.once("response", (response) => {
      const status = response.statusCode ?? 0;
      response.destroy();
      if (status >= 200 && status < 300) resolve();
      else reject(new Refused(`answered ${status}`));
    });
    call.end(body);
  });
}
