import type { Socket } from "node:net";
import type { ReceivedRequest, StandInAnswer, StandInHandler } from "./stand-in.ts";

/** One key at a provider. */
export interface ProviderKey {
  readonly id: string;
  readonly name: string;
  readonly value: string;
  readonly createdAt: number;
}

/** What a test does to the next answers. `lose`: the work is done, but the answer never arrives. */
export type Trouble = (request: ReceivedRequest) => StandInAnswer | "lose" | undefined;

/** A provider that makes and ends keys, as its documentation says that it answers. */
export interface KeyProvider {
  readonly rotator: string;
  readonly hosts: readonly string[];
  /** The stored fields of the credential that is rotated, and of its admin. */
  readonly fields: Readonly<Record<string, string>>;
  readonly admin: { readonly provider: string; readonly fields: Readonly<Record<string, string>> } | null;
  readonly credentialHosts: readonly string[];
  readonly settings: Readonly<Record<string, string>>;
  readonly handler: StandInHandler;
  /** Values of the keys that work now. */
  alive(): string[];
  trouble: Trouble;
  /** Keys that it goes on accepting although they are ended. */
  readonly undead: Set<string>;
  /** A key that somebody else makes. */
  plant(name: string): void;
}

export type Answer = { status?: number; body?: string; headers?: Record<string, string> };

export const json = (value: unknown, status = 200): Answer => ({
  status,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(value),
});

interface Parts {
  readonly rotator: string;
  readonly hosts: readonly string[];
  readonly fields: Readonly<Record<string, string>>;
  readonly admin: KeyProvider["admin"];
  readonly credentialHosts: readonly string[];
  readonly settings?: Readonly<Record<string, string>>;
  answer(request: ReceivedRequest, book: KeyBook): Answer;
  first(book: KeyBook): void;
}

/** The keys of one provider, and what makes their values. */
export class KeyBook {
  readonly keys: ProviderKey[] = [];
  readonly undead = new Set<string>();
  #made = 0;
  now = Date.UTC(2026, 0, 1);

  add(name: string, value: string, id = `id-${++this.#made}`): ProviderKey {
    const key = { id, name, value, createdAt: this.now };
    this.keys.push(key);
    return key;
  }

  /** Sixteen characters and more, like no other: a canary. */
  fresh(prefix: string): string {
    return `${prefix}CANARY${String(++this.#made).padStart(26, "x")}`;
  }

  accepts(value: string | undefined): boolean {
    return value !== undefined && (this.undead.has(value) || this.keys.some((key) => key.value === value));
  }

  remove(id: string): boolean {
    const at = this.keys.findIndex((key) => key.id === id);
    if (at !== -1) this.keys.splice(at, 1);
    return at !== -1;
  }
}

/** A provider with the keys that it has at first. */
export function build(parts: Parts): KeyProvider {
  const book = new KeyBook();
  parts.first(book);
  const provider: KeyProvider = {
    ...parts,
    settings: parts.settings ?? {},
    undead: book.undead,
    trouble: () => undefined,
    alive: () => book.keys.map(({ value }) => value),
    plant: (name) => void book.add(name, book.fresh("other-"), "AKIAOTHER00000000000"),
    handler: (request: ReceivedRequest, socket: Socket) => {
      const trouble = provider.trouble(request);
      if (trouble !== undefined && trouble !== "lose") return trouble;
      const answer = parts.answer(request, book);
      if (trouble !== "lose") return answer;
      socket.destroy();
      return undefined;
    },
  };
  return provider;
}

export function bearer(request: ReceivedRequest): string | undefined {
  return request.values("authorization")[0]?.replace(/^Bearer /, "");
}

export function bodyOf(request: ReceivedRequest): Record<string, unknown> {
  return request.body.length === 0 ? {} : (JSON.parse(request.body.toString()) as Record<string, unknown>);
}
