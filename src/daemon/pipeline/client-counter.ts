import { ProxyError } from "./errors.ts";
import type { ExchangeState } from "./exchange-state.ts";

/** Bounds what one client may have in flight, so that it cannot take every socket (threats L6). */
export class ClientCounter {
  readonly #max: number;
  readonly #counts = new Map<string, number>();

  constructor(max: number) {
    this.#max = max;
  }

  /** @throws ProxyError overloaded */
  enter(x: ExchangeState): void {
    const count = this.#counts.get(x.identity.client) ?? 0;
    if (count >= this.#max) {
      throw new ProxyError("overloaded", `client ${x.identity.client} has ${this.#max} requests in flight already`, {
        reason: "client_concurrency",
        fields: ["Retry-After", "1"],
      });
    }
    this.#counts.set(x.identity.client, count + 1);
    x.counted = true;
  }

  leave(x: ExchangeState): void {
    if (!x.counted) return;
    x.counted = false;
    const count = (this.#counts.get(x.identity.client) ?? 1) - 1;
    if (count === 0) this.#counts.delete(x.identity.client);
    else this.#counts.set(x.identity.client, count);
  }
}
