import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { Distribution } from "./metrics-numbers.ts";

/* Metrics whose numbers are kept elsewhere and only rendered by prom-client. Their names are in metrics.ts. */

/** One series of a histogram. */
export interface Series {
  labels: Record<string, string>;
  distribution: Distribution;
}

/** A histogram whose numbers are kept elsewhere; it only renders them, cumulative as Prometheus wants. */
export class FoldedHistogram extends Histogram<string> {
  readonly #title: { name: string; help: string };
  readonly #series: () => Iterable<Series>;

  constructor(register: Registry, name: string, help: string, series: () => Iterable<Series>) {
    super({ name, help, registers: [register] });
    this.#title = { name, help };
    this.#series = series;
  }

  /** prom-client renders text, and `get`, from what this returns; it exists in prom-client but not in its types. */
  async getForPromString() {
    const { name, help } = this.#title;
    const values: { metricName: string; labels: Record<string, string | number>; value: number }[] = [];
    for (const { labels, distribution } of this.#series()) {
      let cumulative = 0;
      for (const [at, bound] of distribution.bounds.entries()) {
        cumulative += distribution.counts[at] as number;
        values.push({ metricName: `${name}_bucket`, labels: { ...labels, le: bound }, value: cumulative });
      }
      values.push({ metricName: `${name}_bucket`, labels: { ...labels, le: "+Inf" }, value: distribution.count });
      values.push({ metricName: `${name}_sum`, labels, value: distribution.sum });
      values.push({ metricName: `${name}_count`, labels, value: distribution.count });
    }
    return { name, help, type: "histogram", values };
  }
}

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
