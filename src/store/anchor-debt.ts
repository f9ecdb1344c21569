import { type Mark, writeAnchor } from "./audit-anchor.ts";
import type { Keyring } from "./keyring.ts";

/** What is committed and may not be anchored yet. An anchor must not fall behind further: no anchor, no next change. */
export class AnchorDebt {
  readonly #directory: string;
  #owed: Mark | null = null;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** To be anchored before the next change at the latest. */
  owe(mark: Mark): void {
    this.#owed = mark;
  }

  /** @throws DatabaseError when the anchor cannot be written */
  pay(keys: Keyring): void {
    if (this.#owed === null) return;
    writeAnchor(this.#directory, keys, this.#owed);
    this.#owed = null;
  }

  /** After a commit: failing now would report a lie, so the next change insists on it. */
  tryToPay(keys: Keyring): void {
    try {
      this.pay(keys);
    } catch {
      // Still owed.
    }
  }
}
