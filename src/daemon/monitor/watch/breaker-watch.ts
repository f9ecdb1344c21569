import type { ProviderTrouble } from "./provider-trouble.ts";

/** A host of a provider to which some breaker is open. */
export interface BrokenPlace {
  readonly provider: string;
  readonly host: string;
}

/** Tells which breakers have opened or closed since it last looked. */
export class BreakerWatch {
  readonly #trouble: Pick<ProviderTrouble, "breaker">;
  #broken = new Map<string, BrokenPlace>();

  constructor(trouble: Pick<ProviderTrouble, "breaker">) {
    this.#trouble = trouble;
  }

  look(places: readonly BrokenPlace[], nowMs: number): void {
    const broken = new Map(places.map((place) => [`${place.provider}\n${place.host}`, place]));
    for (const [key, { provider, host }] of broken) {
      if (!this.#broken.has(key)) this.#trouble.breaker(provider, host, true, nowMs);
    }
    for (const [key, { provider, host }] of this.#broken) {
      if (!broken.has(key)) this.#trouble.breaker(provider, host, false, nowMs);
    }
    this.#broken = broken;
  }
}
