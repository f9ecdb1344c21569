import { ready } from "../src/store/crypto.ts";
import { decideCost } from "./decide.ts";
import { durability } from "./durability.ts";
import { fairness } from "./fairness.ts";
import { POLICY_UNSCRUBBED } from "./fixture.ts";
import { download, upload } from "./huge.ts";
import { LIMIT_SETS, limitCost } from "./limits.ts";
import { pipelineCost } from "./pipeline.ts";
import { scrubSpeeds } from "./scrub.ts";
import { possibleStreams, streamDelays, streamMemory } from "./streams.ts";
import { measure, memory, type Row, select } from "./suites.ts";
import { type Bench, sidekeyTargets, startBench, type Target } from "./targets.ts";
import { usageCost } from "./usage.ts";
import { vaultRows } from "./vault.ts";

/**
 * `npm run bench [-- throughput latency scrub large sse memory huge decide budgets pipeline usage streams fairness vault durability]`. Everything is compared
 * side by side in one run, and only ratios mean something: machines are shared and noisy. `--quick` shortens the rounds.
 */

/** Suites that compare sidekey with other proxies, in front of one upstream. */
const COMPARED = ["throughput", "latency", "scrub", "large", "sse", "memory", "huge"] as const;
/** Suites that need no proxies and no upstream. */
const ALONE = ["decide", "budgets", "pipeline", "usage", "streams", "fairness", "vault", "durability"] as const;
const SUITES = [...COMPARED, ...ALONE] as const;
type Suite = (typeof SUITES)[number];

const args = process.argv.slice(2);
const quick = args.includes("--quick");
const wanted = SUITES.filter((suite) => args.includes(suite));
const suites: readonly Suite[] = wanted.length > 0 ? wanted : SUITES;
const seconds = quick ? 2 : 6;
const rounds = quick ? 2 : 5;

const print = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

await ready();
if (suites.includes("decide")) runDecide();
if (suites.includes("budgets")) runBudgets();
if (suites.includes("pipeline")) {
  print("\nSidekey's own stages, head parsed to outcome recorded: microseconds per exchange");
  print(`  ${(await pipelineCost(quick ? 20_000 : 100_000)).toFixed(1)} us`);
}
if (suites.includes("usage")) {
  print("\nUsage read out of answers: nanoseconds per KiB");
  for (const { what, nsPerKib } of usageCost(quick ? 20_000 : 200_000))
    print(`  ${what.padEnd(34)} ${nsPerKib.toFixed(0)} ns`);
}
if (suites.includes("streams")) await runStreams();
if (suites.includes("fairness")) await runFairness();
if (suites.includes("vault")) {
  print("\nA vault with 10 000 credentials");
  for await (const line of vaultRows(quick)) print(`  ${line}`);
}
if (suites.includes("durability")) await runDurability();
if (COMPARED.some((suite) => suites.includes(suite))) {
  const bench = await startBench();
  try {
    if (bench.skipped.length > 0) print(`not installed, not compared: ${bench.skipped.join(", ")}`);
    if (suites.includes("throughput")) await runThroughput(bench);
    if (suites.includes("latency")) await runLatency(bench);
    if (suites.includes("scrub")) await runScrub(bench);
    if (suites.includes("large")) await runLarge(bench);
    if (suites.includes("sse")) await runSse(bench);
    if (suites.includes("memory")) await runMemory(bench);
    if (suites.includes("huge")) await runHuge(bench);
  } finally {
    await bench.stop();
  }
}

function runDecide(): void {
  print("\ndecide(): nanoseconds per decision");
  for (const routes of [10, 100, 1000, 5000])
    print(`  ${String(routes).padStart(5)} routes  ${decideCost(routes, 300_000).toFixed(0)} ns`);
}

function runBudgets(): void {
  print("\nLimits and budgets: nanoseconds of the core to reserve and to settle");
  for (const [name, specs] of LIMIT_SETS)
    print(`  ${name.padEnd(42)} ${limitCost(specs, quick ? 50_000 : 300_000).toFixed(0)} ns`);
}

async function runStreams(): Promise<void> {
  const wanted = quick ? 1_000 : 10_000;
  const possible = possibleStreams(wanted);
  print(`\n${wanted} idle event streams: resident memory of sidekey and its open files`);
  if (possible < wanted) print(`  the limit of open files (ulimit -Hn) allows only ${possible}`);
  const { streams, failed, before, open, after, descriptors } = await streamMemory(possible);
  const each = ((open - before) * 1000) / streams;
  print(
    `  ${streams} open, ${failed} failed: ${before.toFixed(0)} -> ${open.toFixed(0)} -> ${after.toFixed(0)} MB, ${each.toFixed(0)} KB a stream; ${descriptors.join(" -> ")} files   (goal: 10 000 below 400 MB)`,
  );
  const delays = await streamDelays(1_000);
  print(`\nOne event into each of ${delays.streams} streams at the same time: milliseconds until they arrive`);
  for (const [name, { p50, p99 }] of [
    ["direct", delays.direct],
    ["sidekey", delays.sidekey],
  ] as const) {
    print(`  ${name.padEnd(8)} p50 ${p50.toFixed(1)}  p99 ${p99.toFixed(1)}`);
  }
  const added = (at: "p50" | "p99"): string => (delays.sidekey[at] - delays.direct[at]).toFixed(1);
  print(`  added    p50 ${added("p50")}  p99 ${added("p99")}`);
}

async function runFairness(): Promise<void> {
  print("\nA client with 50 requests/s, alone and while another one floods with 256 connections: milliseconds");
  for (const [provider, path] of [
    ["a provider that takes 100 ms", "/late"],
    ["a provider that takes no time", "/1k"],
  ] as const) {
    const { alone, flooded, flood } = await fairness(path, quick ? 2 : 5, quick ? 1 : 5);
    print(`  ${provider}: flood ${flood.perSecond.toFixed(0)}/s, ${flood.refused} refused`);
    for (const at of ["p50", "p99"] as const) {
      const goal = at === "p99" ? "   (goal <= 2)" : "";
      print(
        `    ${at} alone ${alone[at].toFixed(1)}, flooded ${flooded[at].toFixed(1)}, ratio ${(flooded[at] / alone[at]).toFixed(2)}${goal}`,
      );
    }
  }
}

async function runDurability(): Promise<void> {
  const kills = quick ? 100 : 1000;
  print(`\nDurability: ${kills} processes killed with SIGKILL while they write to a vault`);
  const result = await durability(kills);
  print(
    `  ${result.kills} kills, ${result.acknowledged} acknowledged writes, lost ${result.lost}, broken ${result.broken.length}, ${result.seconds.toFixed(0)} s   (goal: lost 0)`,
  );
  for (const problem of result.broken) print(`  ${problem}`);
  if (result.lost + result.broken.length > 0) process.exitCode = 1;
}

async function runThroughput(bench: Bench): Promise<void> {
  print("\nThroughput: 1 KB answers over TLS, 32 connections, closed loop, proxy on one core");
  const rows = await measure(bench.targets, { path: "/1k", connections: 32, seconds, rate: null, sse: false, rounds });
  table(rows, ["req/s", "cpu us/req", "p50 ms", "p99 ms"], (row) => [
    row.perSecond.toFixed(0),
    row.cpuUs.toFixed(0),
    row.p50.toFixed(2),
    row.p99.toFixed(2),
  ]);
  ratio(rows, "absolute", "node-passthrough", "absolute", (row) => row.perSecond, ">= 0.80");
  ratio(rows, "connect", "node-passthrough", "connect", (row) => row.perSecond, ">= 0.80");
  ratio(rows, "base-url", "node-passthrough", "absolute", (row) => row.perSecond, "");
  ratio(rows, "connect", "squid ssl-bump", "connect", (row) => row.perSecond, ">= 1.2");
  ratio(rows, "connect", "mitmproxy", "connect", (row) => row.perSecond, "");
}

async function runLatency(bench: Bench): Promise<void> {
  print("\nAdded latency: open loop at 1000 requests/s, 1 KB answers");
  const targets = select(bench, ({ name }) => ["direct", "sidekey", "node-passthrough"].includes(name));
  const rows = await measure(targets, { path: "/1k", connections: 64, seconds, rate: 1000, sse: false, rounds });
  const direct = rows.find((row) => row.target.name === "direct");
  table(rows, ["p50 ms", "p99 ms", "added p50", "added p99"], (row) => [
    row.p50.toFixed(3),
    row.p99.toFixed(3),
    (row.p50 - (direct?.p50 ?? 0)).toFixed(3),
    (row.p99 - (direct?.p99 ?? 0)).toFixed(3),
  ]);
}

async function runScrub(bench: Bench): Promise<void> {
  print("\nScrubbing alone: gigabytes per second of CPU, in pieces of 64 KiB   (goal >= 1)");
  for (const { what, gigabytesPerSecond } of scrubSpeeds(quick ? 10 : 40)) {
    print(`  ${what.padEnd(20)} ${gigabytesPerSecond.toFixed(2)} GB/s`);
  }
  print("\nScrubbing 1 KB answers, sidekey's own stages: microseconds per exchange, the best of several");
  print(`  ${await scrubCost(quick)}`);
  const stops: (() => Promise<void>)[] = [];
  try {
    const variant = { name: "scrub off", policy: POLICY_UNSCRUBBED };
    const off = await sidekeyTargets(bench.upstream, stops, variant);
    for (const [path, what] of [
      ["/1k", "1 KB answers"],
      ["/gz", "1 KB answers, gzip (decoded when scrubbed, passed on when not)"],
      ["/10m", "10 MB answers"],
    ] as const) {
      const connections = path === "/10m" ? 4 : 32;
      print(`\nScrubbing on and off: ${what}, ${connections} connections, closed loop`);
      const targets = [...select(bench, ({ name }) => name === "sidekey"), ...off];
      const rows = await measure(targets, { path, connections, seconds, rate: null, sse: false, rounds });
      table(rows, ["req/s", "cpu us/req"], (row) => [row.perSecond.toFixed(1), row.cpuUs.toFixed(0)]);
      for (const form of ["absolute", "connect"]) {
        ratio(rows, form, "scrub off", form, (row) => row.perSecond, path === "/1k" ? ">= 0.90" : "");
      }
    }
  } finally {
    for (const stop of stops) await stop();
  }
}

/** In turn, and the best of each: what else the machine does adds to one or the other, and never takes away. */
async function scrubCost(short: boolean): Promise<string> {
  let [on, off] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let n = 0; n < (short ? 3 : 7); n++) {
    on = Math.min(on, await pipelineCost(short ? 20_000 : 50_000));
    off = Math.min(off, await pipelineCost(short ? 20_000 : 50_000, "unscrubbed"));
  }
  return `${on.toFixed(1)} on, ${off.toFixed(1)} off: ${(on - off).toFixed(1)} added`;
}

async function runLarge(bench: Bench): Promise<void> {
  print("\nLarge answers: 10 MB, 4 connections");
  const targets = select(bench, ({ name }) => ["direct", "sidekey", "node-passthrough"].includes(name));
  const rows = await measure(targets, { path: "/10m", connections: 4, seconds, rate: null, sse: false, rounds });
  table(rows, ["MB/s"], (row) => [row.megabytesPerSecond.toFixed(0)]);
  for (const form of ["absolute", "connect"]) {
    ratio(rows, form, "node-passthrough", form, (row) => row.megabytesPerSecond, ">= 0.70");
  }
}

async function runSse(bench: Bench): Promise<void> {
  print("\nServer-sent events: first event at the client after the upstream sent it, 8 streams");
  const targets = select(bench, ({ name }) => ["direct", "sidekey", "node-passthrough"].includes(name));
  const rows = await measure(targets, { path: "/sse", connections: 8, seconds, rate: null, sse: true, rounds });
  table(rows, ["p50 ms", "p99 ms"], (row) => [row.p50.toFixed(3), row.p99.toFixed(3)]);
}

async function runMemory(bench: Bench): Promise<void> {
  const total = quick ? 100_000 : 1_000_000;
  print(`\nResident memory of sidekey over ${total} requests`);
  const [target] = select(bench, ({ name, form }) => name === "sidekey" && form === "absolute");
  if (!target) return;
  for (const point of await memory(target, total, 10)) {
    print(`  ${String(point.requests).padStart(8)} requests  ${point.megabytes.toFixed(0)} MB`);
  }
}

async function runHuge(bench: Bench): Promise<void> {
  print("\n10 GB through sidekey: resident memory before and at most");
  for (const target of select(bench, ({ name, form }) => name === "sidekey" && form !== "base-url")) {
    for (const [direction, pass] of [
      ["download", download],
      ["upload", upload],
    ] as const) {
      const { gigabytes, seconds: took, beforeMegabytes, peakMegabytes } = await pass(target);
      const speed = ((gigabytes * 1.0737e9) / took / 1e6).toFixed(0);
      print(
        `  ${target.form.padEnd(9)} ${direction.padEnd(9)} ${gigabytes.toFixed(1)} GB, ${speed} MB/s, ${beforeMegabytes.toFixed(0)} -> ${peakMegabytes.toFixed(0)} MB`,
      );
    }
  }
}

function label(target: Target): string {
  return `${target.name}, ${target.form}`;
}

function table(rows: readonly Row[], columns: readonly string[], cells: (row: Row) => readonly string[]): void {
  const width = Math.max(...rows.map((row) => label(row.target).length));
  print(`  ${"".padEnd(width)}  ${columns.map((column) => column.padStart(11)).join("")}${"   errors"}`);
  for (const row of rows) {
    const shown = cells(row).map((cell) => cell.padStart(11));
    print(`  ${label(row.target).padEnd(width)}  ${shown.join("")}${String(row.errors).padStart(9)}`);
  }
}

function ratio(
  rows: readonly Row[],
  form: string,
  rival: string,
  rivalForm: string,
  value: (row: Row) => number,
  goal: string,
): void {
  const ours = rows.find(({ target }) => target.name === "sidekey" && target.form === form);
  const theirs = rows.find(({ target }) => target.name === rival && target.form === rivalForm);
  if (!ours || !theirs || value(theirs) === 0) return;
  const share = (value(ours) / value(theirs)).toFixed(2);
  print(`  sidekey ${form} : ${rival} ${rivalForm} = ${share}${goal === "" ? "" : `   (goal ${goal})`}`);
}
