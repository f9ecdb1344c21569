import type { ReadStream } from "node:tty";
import type { Secret } from "../secret.ts";
import { CliError } from "./failure.ts";
import { type Echo, LineEditor, MAX_LINE_BYTES } from "./line-editor.ts";
import type { Terminal } from "./terminal.ts";

/** Asks at the terminal. Answers are bytes; hidden ones are not echoed. */
export interface Prompter {
  /** False when stdin is a pipe or a file: then nobody can be asked. */
  readonly interactive: boolean;
  /** @throws CliError on Ctrl-C, on a closed terminal and on an over-long line. */
  ask(label: string, options: { hidden: boolean }): Promise<Secret>;
  /** Wipes what was typed ahead. */
  close(): void;
}

/** The part of tty.ReadStream that prompting needs. */
export type PromptInput = Pick<ReadStream, "isTTY" | "setRawMode" | "on" | "off" | "resume" | "pause">;

export function createPrompter(input: PromptInput, terminal: Terminal): Prompter {
  // Bytes pasted after a newline answer the next question.
  let rest: Buffer = Buffer.alloc(0);
  const interactive = input.isTTY === true;
  return {
    interactive,
    ask: async (label, options) => {
      if (!interactive) {
        throw new CliError("no terminal to ask at", { nextStep: "give the value with --stdin or --file field=path" });
      }
      terminal.prompt(`${label}: `);
      const answer = await readLine(input, terminal, { hidden: options.hidden, first: rest });
      rest = answer.rest;
      return answer.line;
    },
    close: () => {
      rest.fill(0);
    },
  };
}

interface ReadLineOptions {
  readonly hidden: boolean;
  readonly first: Buffer;
}

async function readLine(
  input: PromptInput,
  terminal: Terminal,
  options: ReadLineOptions,
): Promise<{ line: Secret; rest: Buffer }> {
  const editor = new LineEditor();
  const echo = options.hidden ? null : terminal.echo;
  input.setRawMode(true);
  try {
    const rest = await collect(input, editor, echo, options.first);
    if (editor.state !== "done") rest.fill(0);
    if (editor.state === "cancelled") throw new CliError("cancelled; nothing was changed");
    if (editor.state === "too-long") {
      throw new CliError(`the line is longer than ${MAX_LINE_BYTES} bytes`, { nextStep: "use --file field=path" });
    }
    return { line: editor.take(), rest };
  } finally {
    editor.wipe();
    input.setRawMode(false);
    input.pause();
    terminal.prompt("\n");
  }
}

/** Feeds the editor until its line ends; resolves to the bytes that came after it. */
function collect(input: PromptInput, editor: LineEditor, echo: Echo | null, first: Buffer): Promise<Buffer> {
  const feed = (chunk: Buffer): Buffer => {
    const used = editor.feed(chunk, echo);
    const rest = Buffer.from(chunk.subarray(used));
    chunk.fill(0);
    return rest;
  };
  const rest = feed(first);
  if (editor.state !== "open") return Promise.resolve(rest);
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      input.off("data", onData);
      input.off("end", onEnd);
      input.off("error", onEnd);
    };
    const onData = (chunk: Buffer): void => {
      const after = feed(chunk);
      if (editor.state === "open") return;
      stop();
      resolve(after);
    };
    const onEnd = (): void => {
      stop();
      reject(new CliError("the terminal was closed; nothing was changed"));
    };
    input.on("data", onData);
    input.on("end", onEnd);
    input.on("error", onEnd);
    input.resume();
  });
}
