import type { Writable } from "node:stream";
import type { FailureReport } from "./failure.ts";
import { jsonText, visible } from "./output.ts";

/**
 * The only place that writes to stdout and stderr.
 *
 * - stdout: what was asked for (tables, JSON, env lines, PEM), so that it can be piped.
 * - stderr: prompts, notes, warnings and errors.
 * - Every string is made `visible` first: names, paths and audit details come from files and
 *   clients and must not be able to steer the terminal.
 * - Colour only for the word in front of a status line or an error, only on a TTY.
 */
export interface Terminal {
  /** One or more lines on stdout. */
  out(text: string): void;
  /** One or more lines on stderr. */
  note(text: string): void;
  warn(text: string): void;
  json(value: unknown): void;
  /** One JSON object on one line, for streams. */
  jsonLine(value: unknown): void;
  status(mark: Mark, text: string): void;
  fail(report: FailureReport): void;
  /**
   * For a file on stdout, and then nothing else goes there: each call resolves once the bytes are taken and rejects
   * when the reader is gone. Null when stdout is a terminal.
   */
  binary(): ((bytes: Uint8Array) => Promise<void>) | null;
  /** Resolves when everything has left this process: a slow reader of a pipe must get all of it. */
  flush(): Promise<void>;
  /** Whole lines of the daemon's log, on stderr. */
  log(lines: Buffer): void;
  /** Bytes of a secret that is shown once, on stdout. When it resolves they have left and may be wiped. */
  secret(bytes: Uint8Array): Promise<void>;
  /** Text without a newline, on stderr, for a question. */
  prompt(text: string): void;
  /** Typed bytes of a value that is no secret, shown as they are typed. */
  echo(bytes: Uint8Array): void;
}

export type Mark = "ok" | "warn" | "fail";

const COLOURS: Readonly<Record<Mark, string>> = { ok: "32", warn: "33", fail: "31" };
const MARK_WIDTH = 4;

export interface TerminalStreams {
  readonly out: Writable;
  readonly err: Writable;
  /** Colour is wanted at all (NO_COLOR absent); a stream that is no TTY stays plain anyway. */
  readonly colour: boolean;
}

/** The terminal of this process. A reader that goes away (`| head`) ends the process quietly. */
export function processTerminal(colour: boolean): Terminal {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      process.exit(error.code === "EPIPE" ? 0 : 1);
    });
  }
  return createTerminal({ out: process.stdout, err: process.stderr, colour });
}

export function createTerminal(streams: TerminalStreams): Terminal {
  const line = (stream: Writable, text: string): void => {
    stream.write(`${visible(text)}\n`);
  };
  const paint = (stream: Writable, mark: Mark, text: string): string => {
    const tty = "isTTY" in stream && stream.isTTY === true;
    return streams.colour && tty ? `\u001b[${COLOURS[mark]}m${text}\u001b[0m` : text;
  };
  return {
    out: (text) => line(streams.out, text),
    note: (text) => line(streams.err, text),
    warn: (text) => {
      streams.err.write(`${paint(streams.err, "warn", "warning:")} ${visible(text)}\n`);
    },
    json: (value) => {
      streams.out.write(`${jsonText(value, 2)}\n`);
    },
    jsonLine: (value) => {
      streams.out.write(`${jsonText(value, 0)}\n`);
    },
    status: (mark, text) => {
      streams.out.write(`${paint(streams.out, mark, mark.padEnd(MARK_WIDTH))}  ${visible(text)}\n`);
    },
    fail: (report) => {
      streams.err.write(`${paint(streams.err, "fail", "sidekey:")} ${visible(report.message)}\n`);
      if (report.nextStep === null) return;
      for (const step of report.nextStep.split("\n")) line(streams.err, `  ${step}`);
    },
    binary: () => {
      if ("isTTY" in streams.out && streams.out.isTTY === true) return null;
      // A reader that leaves early got half a file: that is a failure here, told by the write.
      streams.out.removeAllListeners("error").on("error", () => {});
      return (bytes) =>
        new Promise((resolve, reject) => streams.out.write(bytes, (error) => (error ? reject(error) : resolve())));
    },
    prompt: (text) => {
      streams.err.write(visible(text));
    },
    flush: async () => {
      for (const stream of [streams.out, streams.err]) {
        await new Promise<void>((resolve) => stream.write("", () => resolve()));
      }
    },
    secret: (bytes) => new Promise((resolve) => streams.out.write(bytes, () => resolve())),
    log: (lines) => {
      streams.err.write(lines);
    },
    echo: (bytes) => {
      streams.err.write(bytes);
    },
  };
}
