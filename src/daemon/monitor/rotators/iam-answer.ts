import { Secret } from "../../../secret.ts";

/**
 * The few parts of an IAM answer (XML, IAM API Reference "Query API") that are needed, read on bytes: the answer of
 * CreateAccessKey holds a secret. Ids, dates and keys have no character that XML would escape; others are refused.
 */
export class IamAnswer {
  readonly #bytes: Buffer;

  /** Keeps a reference; the caller wipes it. */
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** The text of the only element of this name, as a string; null when there is none, or several, or it is no word. */
  text(name: string): string | null {
    const found = this.#only(name);
    if (found === null || found.length > 200) return null;
    const text = found.toString("latin1");
    return /^[\w.:/+=@,-]*$/.test(text) ? text : null;
  }

  /** As `text`, for a secret; the caller wipes it. */
  secret(name: string): Secret | null {
    const found = this.#only(name);
    return found === null || found.length === 0 ? null : Secret.copyOf(found);
  }

  /** Each `<member>` of a list. They do not nest in the answers that are read. */
  members(): IamAnswer[] {
    const members: IamAnswer[] = [];
    for (let at = this.#find("member", 0); at !== null; at = this.#find("member", at.end)) {
      members.push(new IamAnswer(this.#bytes.subarray(at.from, at.to)));
    }
    return members;
  }

  #only(name: string): Buffer | null {
    const first = this.#find(name, 0);
    if (first === null || this.#find(name, first.end) !== null) return null;
    const found = this.#bytes.subarray(first.from, first.to);
    return found.includes("<") || found.includes("&") ? null : found;
  }

  #find(name: string, after: number): { from: number; to: number; end: number } | null {
    const open = `<${name}>`;
    const close = `</${name}>`;
    const start = this.#bytes.indexOf(open, after, "latin1");
    if (start === -1) return null;
    const from = start + open.length;
    const to = this.#bytes.indexOf(close, from, "latin1");
    return to === -1 ? null : { from, to, end: to + close.length };
  }
}
