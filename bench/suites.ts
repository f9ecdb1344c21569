import type { LoadPlan, LoadResult } from "./load.ts";
import { cpuSeconds, residentBytes, startScript } from "./process.ts";
import type { Bench, Target } from "./targets.ts";

/** The measurements. Rounds alternate between targets, so that what the machine does meanwhile hits all of them. */

export interface Row {
  readonly target: Target;
  readonly perSecond: number;
  /** CPU microseconds of the proxy per request. */
  readonly cpuUs: number;
  readonly megabytesPerSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly errors: number;
}

interface Sample extends LoadResult {
  readonly cpu: number;
}

export interface Round {
  readonly path: string;
  readonly connections: number;
  readonly seconds: number;
  readonly rate: number | null;
  readonly sse: boolean;
  readonly rounds: number;
}

/** Runs every target `rounds` times in turn; the first round only warms up. Rows hold medians. */
export async function measure(targets: readonly Target[], round: Round): Promise<Row[]> {
  const samples = new Map<Target, Sample[]>(targets.map((target) => [target, []]));
  for (let n = 0; n <= round.rounds; n++) {
    for (const target of targets) {
      const sample = await once(target, round, null);
      if (n > 0) samples.get(target)?.push(sample);
    }
  }
  return targets.map((target) => row(target, samples.get(target) ?? []));
}

async function once(target: Target, round: Round, requests: number | null): Promise<Sample> {
  const before = cpuSeconds(target.pid);
  const { path, connections, seconds, rate, sse } = round;
  const plan: LoadPlan = { ...target.plan(path), connections, seconds, rate, requests, sse };
  const { line } = await startScript("load.ts", "others", plan);
  const result = JSON.parse(line) as LoadResult;
  return { ...result, cpu: cpuSeconds(target.pid) - before };
}

function row(target: Target, samples: readonly Sample[]): Row {
  const middle = (value: (sample: Sample) => number): number => {
    const sorted = samples.map(value).sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? 0;
  };
  return {
    target,
    perSecond: middle((sample) => sample.requests / sample.seconds),
    cpuUs: middle((sample) => (sample.cpu / Math.max(1, sample.requests)) * 1e6),
    megabytesPerSecond: middle((sample) => sample.bytes / sample.seconds / 1e6),
    p50: middle((sample) => sample.p50),
    p99: middle((sample) => sample.p99),
    errors: samples.reduce((sum, sample) => sum + sample.errors, 0),
  };
}

export interface MemoryPoint {
  readonly requests: number;
  readonly megabytes: number;
}

/** Resident memory of a target while it answers `total` requests. */
export async function memory(target: Target, total: number, steps: number): Promise<MemoryPoint[]> {
  const points: MemoryPoint[] = [];
  const round: Round = { path: "/1k", connections: 32, seconds: 600, rate: null, sse: false, rounds: 1 };
  for (let step = 1; step <= steps; step++) {
    await once(target, round, total / steps);
    points.push({ requests: (total / steps) * step, megabytes: residentBytes(target.pid) / 1e6 });
  }
  return points;
}

/** The targets of one form, or all of them. */
export function select(bench: Bench, keep: (target: Target) => boolean): Target[] {
  return bench.targets.filter(keep);
}
