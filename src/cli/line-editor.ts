import { Secret } from "../secret.ts";

const CTRL_C = 0x03;
const CTRL_D = 0x04;
const BACKSPACE = 0x08;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
const CTRL_U = 0x15;
const ESCAPE = 0x1b;
const DELETE = 0x7f;
const SPACE = 0x20;
const BRACKET = 0x5b;
const CSI_FINAL_FIRST = 0x40;
const CSI_FINAL_LAST = 0x7e;

/** Longest line in bytes; longer than any key, short enough to notice a pasted file. */
export const MAX_LINE_BYTES = 8192;

export type Echo = (bytes: Buffer) => void;

export type LineState = "open" | "done" | "cancelled" | "too-long";

/**
 * One line typed into a terminal in raw mode, kept in one Buffer and never in a string.
 * Understands backspace, Ctrl-U, Ctrl-C, Ctrl-D on an empty line, and skips arrow keys.
 */
export class LineEditor {
  readonly #bytes = Buffer.alloc(MAX_LINE_BYTES);
  #length = 0;
  #escape: "none" | "started" | "csi" = "none";
  #state: LineState = "open";

  get state(): LineState {
    return this.#state;
  }

  /**
   * Takes bytes up to the end of the line and returns how many it used; what follows a newline (a
   * pasted second field) belongs to the next line. `echo` is called with what should appear; null
   * for a hidden line, so that not even single bytes of it are copied.
   */
  feed(chunk: Buffer, echo: Echo | null): number {
    for (let index = 0; index < chunk.length; index++) {
      if (this.#state !== "open") return index;
      this.#take(chunk[index] ?? 0, echo);
    }
    return chunk.length;
  }

  /** The finished line. The editor's own copy is wiped. */
  take(): Secret {
    const secret = Secret.copyOf(this.#bytes.subarray(0, this.#length));
    this.wipe();
    return secret;
  }

  wipe(): void {
    this.#bytes.fill(0);
    this.#length = 0;
  }

  #take(byte: number, echo: Echo | null): void {
    if (this.#skipEscape(byte)) return;
    if (byte === RETURN || byte === NEWLINE) this.#state = "done";
    else if (byte === CTRL_C) this.#state = "cancelled";
    else if (byte === CTRL_D && this.#length === 0) this.#state = "cancelled";
    else if (byte === DELETE || byte === BACKSPACE) this.#erase(echo);
    else if (byte === CTRL_U) while (this.#length > 0) this.#erase(echo);
    else if (byte >= SPACE) this.#append(byte, echo);
  }

  #skipEscape(byte: number): boolean {
    if (this.#escape === "none") {
      if (byte !== ESCAPE) return false;
      this.#escape = "started";
      return true;
    }
    if (this.#escape === "started") {
      this.#escape = byte === BRACKET ? "csi" : "none";
      return true;
    }
    if (byte >= CSI_FINAL_FIRST && byte <= CSI_FINAL_LAST) this.#escape = "none";
    return true;
  }

  #append(byte: number, echo: Echo | null): void {
    if (this.#length === MAX_LINE_BYTES) {
      this.#state = "too-long";
      return;
    }
    this.#bytes[this.#length] = byte;
    this.#length += 1;
    echo?.(Buffer.from([byte]));
  }

  /** Removes the last character; in UTF-8 that is a lead byte with its continuation bytes. */
  #erase(echo: Echo | null): void {
    if (this.#length === 0) return;
    do {
      this.#length -= 1;
    } while (this.#length > 0 && ((this.#bytes[this.#length] ?? 0) & 0xc0) === 0x80);
    this.#bytes.fill(0, this.#length);
    echo?.(Buffer.from("\b \b", "latin1"));
  }
}
