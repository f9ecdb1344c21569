import { Counter, Gauge, type Registry } from "prom-client";

/* Metrics whose numbers are kept elsewhere and only rendered by prom-client. Their names are in metrics.ts. */

/** One value of a metric, with its labels. */
export type Sample = readonly [labels: Record<string, string>, value: number];

/** Registers a counter; `samples` is asked at each scrape. */
export function counter(
  register: Registry,
  name: string,
  help: string,
  labels: string[],
  samples: () => Iterable<Sample>,
) {
  new Counter({
    name,
    help,
    labelNames: labels,
    registers: [register],
    collect() {
      this.reset();
      forgetZero(this, labels);
      for (const [values, value] of safely(samples)) this.inc(values, value);
    },
  });
}

/** Registers a gauge; `samples` is asked at each scrape. */
export function gauge(
  register: Registry,
  name: string,
  help: string,
  labels: string[],
  samples: () => Iterable<Sample>,
) {
  new Gauge({
    name,
    help,
    labelNames: labels,
    registers: [register],
    collect() {
      this.reset();
      forgetZero(this, labels);
      for (const [values, value] of safely(samples)) this.set(values, value);
    },
  });
}

/** A label-less metric reads 0 after reset(); a source that is not there (yet) must be absent, not 0. */
function forgetZero(metric: Counter | Gauge, labels: readonly string[]): void {
  if (labels.length === 0) metric.remove({});
}

/** One failing source (a vault being closed, say) must not take the whole scrape with it. */
function safely(samples: () => Iterable<Sample>): readonly Sample[] {
  try {
    return [...samples()];
  } catch {
    return [];
  }
}
