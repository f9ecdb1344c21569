import { pino } from "pino";

/** Lines wait at most this long, so that a busy daemon writes once for many requests. */
const FLUSH_AFTER_MS = 50;
/** Bytes (roughly: UTF-16 units) that are written at once rather than waiting for the timer. */
const FLUSH_AT = 64 * 1024;
/** Longest text of one field; a URL is at most 8 KiB. */
const MAX_TEXT = 16 * 1024;
/** Fields that every line has; a caller cannot replace them. */
const RESERVED: ReadonlySet<string> = new Set(["time", "level", "msg"]);

export type LogLevel = "debug" | "info" | "warn" | "error" | "fatal";
export type LogValue = string | number | boolean | null | readonly string[];
/** Flat on purpose: an object could be an Error or a response, and those carry URLs and headers (threats E3). */
export type LogFields = Readonly<Record<string, LogValue>>;

/** The one line that every exchange leaves. Names and order are what operators' queries rely on. */
export interface RequestLine {
  id: string;
  client: string | null;
  user: string | null;
  form: string;
  method: string;
  host: string;
  /** Without the query: several providers take their key there. */
  path: string;
  route: string | null;
  credential: string | null;
  version: number | null;
  status: number;
  outcome: string;
  code: string | null;
  bytes_up: number;
  bytes_down: number;
  ms: number;
  upstream_ms: number | null;
  overhead_ms: number | null;
  wait_ms: number;
  /** From here on only what there is to tell: null, false, 0 and a first attempt are left out. */
  model: string | null;
  tokens_in: number | null;
  tokens_out: number | null;
  /** Decimal text, exact; in the line it is a number. */
  cost_usd: string | null;
  unpriced: boolean;
  usage: "exact" | "estimated" | null;
  attempts: number;
  scrubbed: number;
}

/** Replaces the bytes of live secrets. Gets whole lines only, so a secret is never cut in two. */
export interface LogScrubber {
  scrub(lines: Buffer): Buffer;
}

export interface LogOptions {
  level: LogLevel;
  format: "json" | "pretty";
  /** Writes whole lines, synchronously (it is also called while the process exits), and never throws. */
  write: (bytes: Buffer) => void;
  scrubber: LogScrubber;
  /** Milliseconds since the epoch. */
  now?: () => number;
}

export interface Log {
  debug(msg: string, fields?: LogFields): void;
  info(msg: string, fields?: LogFields): void;
  warn(msg: string, fields?: LogFields): void;
  error(msg: string, fields?: LogFields): void;
  /** Written before this returns: the process is about to end. */
  fatal(msg: string, fields?: LogFields): void;
  request(line: RequestLine): void;
  flush(): void;
  /** Flushes and lets go of the timer and the exit hook. Later lines are written at once. */
  close(): void;
}

/** Scalars and lists of strings only, whatever a caller's types claimed. */
function plainFields(fields: LogFields): Record<string, LogValue> {
  const plain: Record<string, LogValue> = {};
  for (const [name, value] of Object.entries(fields)) {
    plain[RESERVED.has(name) ? `${name}_` : name] = plainValue(value);
  }
  return plain;
}

function plainValue(value: unknown): LogValue {
  if (typeof value === "string") return bounded(value);
  if (typeof value === "number" || typeof value === "boolean" || value === null) return value;
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value.map(bounded);
  return `[${typeof value} not logged]`;
}

/** Too long is left out whole: cutting could leave half a secret, which the scrubber would not know. */
function bounded(text: string): string {
  return text.length <= MAX_TEXT ? text : `[${text.length} characters not logged]`;
}

/** `12:00:00.123 info  request  id=… client=app …`: for a person's terminal, so control characters stay escaped. */
function prettyLine(json: string): string {
  const line: unknown = JSON.parse(json);
  if (typeof line !== "object" || line === null) return json;
  const { time, level, msg, ...fields } = line as Record<string, unknown>;
  const shown = Object.entries(fields)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}=${prettyValue(value)}`);
  const clock = typeof time === "string" ? time.slice(11, 23) : "";
  return `${[clock, String(level).padEnd(5), prettyText(String(msg)), ...shown].join(" ")}\n`;
}

function prettyValue(value: unknown): string {
  if (typeof value === "number") return String(Math.round(value * 100) / 100);
  if (typeof value !== "string") return prettyText(JSON.stringify(value));
  return /^[\x21\x23-\x7e]+$/.test(value) ? value : prettyText(JSON.stringify(value));
}

/** JSON escapes C0 only; C1 and bidirectional controls can still rewrite what a terminal shows. */
function prettyText(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}]/gu,
    (character) => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`,
  );
}

/** A scrubber that fails costs the lines, not the secrecy and not the proxy. */
function scrubbed(scrubber: LogScrubber, bytes: Buffer): Buffer {
  try {
    return scrubber.scrub(bytes);
  } catch {
    return Buffer.from('{"level":"error","msg":"log lines withheld: looking for secrets in them failed"}\n');
  }
}

/** Collects lines and hands them to `write` in one piece. */
function lineBuffer(options: LogOptions) {
  let lines: string[] = [];
  let size = 0;
  let timer: NodeJS.Timeout | null = null;
  let closed = false;

  function flush(): void {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    if (lines.length === 0) return;
    const bytes = Buffer.from(lines.join(""));
    lines = [];
    size = 0;
    options.write(scrubbed(options.scrubber, bytes));
  }

  return {
    flush,
    write(line: string): void {
      lines.push(options.format === "pretty" ? prettyLine(line) : line);
      size += line.length;
      if (closed || size >= FLUSH_AT) flush();
      else timer ??= setTimeout(flush, FLUSH_AFTER_MS).unref();
    },
    close(): void {
      flush();
      closed = true;
    },
  };
}

/** The line's fields as JSON without the braces. */
function requestFields(line: RequestLine): string {
  return (
    `"id":${text(line.id)},"client":${text(line.client)},"user":${text(line.user)},"form":${text(line.form)},` +
    `"method":${text(line.method)},"host":${text(line.host)},"path":${text(bounded(line.path))},` +
    `"route":${text(line.route)},"credential":${text(line.credential)},"version":${line.version},` +
    `"status":${line.status},"outcome":${text(line.outcome)},"code":${text(line.code)},` +
    `"bytes_up":${line.bytes_up},"bytes_down":${line.bytes_down},"ms":${line.ms},` +
    `"upstream_ms":${line.upstream_ms},"overhead_ms":${line.overhead_ms},"wait_ms":${line.wait_ms}${usageFields(line)}`
  );
}

function usageFields(line: RequestLine): string {
  let fields = "";
  if (line.model !== null) fields += `,"model":${text(bounded(line.model))}`;
  if (line.tokens_in !== null) fields += `,"tokens_in":${line.tokens_in}`;
  if (line.tokens_out !== null) fields += `,"tokens_out":${line.tokens_out}`;
  if (line.cost_usd !== null) fields += `,"cost_usd":${line.cost_usd}`;
  if (line.unpriced) fields += `,"unpriced":true`;
  if (line.usage !== null) fields += `,"usage":"${line.usage}"`;
  if (line.attempts > 1) fields += `,"attempts":${line.attempts}`;
  if (line.scrubbed > 0) fields += `,"scrubbed":${line.scrubbed}`;
  return fields;
}

const PLAIN_TEXT = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/** A JSON string; only unusual text needs the real escaping. */
function text(value: string | null): string {
  if (value === null) return "null";
  return PLAIN_TEXT.test(value) ? `"${value}"` : JSON.stringify(value);
}

/** ISO 8601; many lines share a millisecond, so the last text is kept. */
function isoClock(): (ms: number) => string {
  let lastMs = Number.NaN;
  let text = "";
  return (ms) => {
    if (ms === lastMs) return text;
    lastMs = ms;
    text = new Date(ms).toISOString();
    return text;
  };
}

/**
 * The daemon's log. Lines are collected and written together at most 50 ms later (at once when fatal or
 * at exit), after the scrubber has looked for live secrets in their bytes: by value, because a field-name
 * filter misses the place nobody thought of (guarantee G7).
 */
export function createLog(options: LogOptions): Log {
  const buffer = lineBuffer(options);
  const now = options.now ?? Date.now;
  const clock = isoClock();
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: () => `,"time":"${clock(now())}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    buffer,
  );
  const onExit = (): void => buffer.flush();
  process.on("exit", onExit);

  function write(level: LogLevel, msg: string, fields: LogFields = {}): void {
    logger[level](plainFields(fields), bounded(msg));
  }

  return {
    debug: (msg, fields) => write("debug", msg, fields),
    info: (msg, fields) => write("info", msg, fields),
    warn: (msg, fields) => write("warn", msg, fields),
    error: (msg, fields) => write("error", msg, fields),
    fatal(msg, fields) {
      write("fatal", msg, fields);
      buffer.flush();
    },
    // Written by hand, not by pino: the one line that every request pays for.
    request(line) {
      if (!logger.isLevelEnabled("info")) return;
      buffer.write(`{"level":"info","time":"${clock(now())}","msg":"request",${requestFields(line)}}\n`);
    },
    flush: buffer.flush,
    close() {
      process.off("exit", onExit);
      buffer.close();
    },
  };
}
