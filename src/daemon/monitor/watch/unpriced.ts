import type { Alerts } from "../alerts.ts";

/** Without another call for so long it is over. */
const LAPSE_MS = 86_400_000;
/** Models that are named. */
const MAX_MODELS = 5;
/** Routes that are watched. */
const MAX_ROUTES = 500;
/** What providers call their models; anything else came from somebody who means something else by it. */
const MODEL_NAME = /^[\w.:/@-]{1,80}$/;

/** A call that cost something that has no price. */
export interface UnpricedCall {
  /** One with a budget in dollars. */
  readonly route: string;
  /** As the provider, or the request, names it. */
  readonly model: string | null;
  readonly atMs: number;
}

/** Tells on which routes a budget in dollars does not see everything. */
export class UnpricedCalls {
  readonly #alerts: Alerts;
  /** Models by route. */
  readonly #models = new Map<string, Set<string>>();

  constructor(alerts: Alerts) {
    this.#alerts = alerts;
  }

  get size(): number {
    return this.#models.size;
  }

  seen({ route, model, atMs }: UnpricedCall): void {
    const models = this.#models.get(route) ?? new Set();
    const [oldest] = this.#models.keys();
    if (!this.#models.has(route) && oldest !== undefined && this.#models.size >= MAX_ROUTES)
      this.#models.delete(oldest);
    this.#models.set(route, models);
    if (model !== null && MODEL_NAME.test(model) && models.size < MAX_MODELS) models.add(model);
    const which = models.size === 0 ? "" : ` (${[...models].join(", ")})`;
    const message = `calls on route ${route} have no price${which}, so its dollar budget does not count them; add them to prices.yaml`;
    this.#alerts.raise("budget_unpriced", `route:${route}`, "warning", message, atMs + LAPSE_MS);
  }
}
