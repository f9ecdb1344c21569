import { Histogram, type Registry } from "prom-client";

/** Cumulative counts of one series: plain numbers, because prom-client's observe() hashes label strings every call. */
export interface Distribution {
  bounds: readonly number[];
  counts: Float64Array;
  sum: number;
  count: number;
}

export function observe(distribution: Distribution, seconds: number): void {
  let at = 0;
  while (at < distribution.bounds.length && seconds > (distribution.bounds[at] as number)) at++;
  distribution.counts[at] = (distribution.counts[at] as number) + 1;
  distribution.sum += seconds;
  distribution.count++;
}

export function distribution(bounds: readonly number[]): Distribution {
  return { bounds, counts: new Float64Array(bounds.length + 1), sum: 0, count: 0 };
}

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
