import { randomBytes } from "node:crypto";
import { Needles } from "../src/daemon/pipeline/needles.ts";
import { replacementFor, Scrubber } from "../src/daemon/pipeline/scrub.ts";
import { formsOf } from "../src/daemon/pipeline/secret-forms.ts";

/** The search alone, without HTTP around it: how many bytes pass in a second of this thread's CPU. */

const CHUNK = 64 * 1024;
const SIZE = 8 * 1024 * 1024;
const WARM_UP = 5;

export interface ScrubSpeed {
  readonly what: string;
  readonly gigabytesPerSecond: number;
}

/** @param rounds over 8 MiB of each kind of body */
export function scrubSpeeds(rounds: number): ScrubSpeed[] {
  const needles = new Needles(formsOf(Buffer.from(`sk-bench-${"k7Qz".repeat(12)}`)));
  return Object.entries(bodies()).map(([what, body]) => ({ what, gigabytesPerSecond: speed(needles, body, rounds) }));
}

function bodies(): Record<string, Buffer> {
  const quotes = JSON.stringify(
    Array.from({ length: 2000 }, (_, at) => ({
      symbol: `SYM${at}`,
      price: at * 1.37,
      volume: at * 991,
      name: "Some Corp.",
    })),
  );
  const event = (at: number): string =>
    `data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":" word${at}"},"finish_reason":null}]}\n\n`;
  const escaped = JSON.stringify(JSON.stringify({ text: 'He said "so & so"\n' }).repeat(2000));
  return {
    "quotes as JSON": filled(quotes),
    "chat as events": filled(Array.from({ length: 1000 }, (_, at) => event(at)).join("")),
    "JSON inside JSON": filled(escaped),
    "base64 (pictures)": filled(randomBytes(CHUNK).toString("base64")),
    binary: randomBytes(SIZE),
  };
}

function filled(text: string): Buffer {
  return Buffer.alloc(SIZE, text, "latin1");
}

/** The best round: what else the machine does takes away, and never adds. */
function speed(needles: Needles, body: Buffer, rounds: number): number {
  for (let round = 0; round < WARM_UP; round++) scrubbed(needles, Buffer.from(body));
  let best = 0;
  for (let round = 0; round < rounds; round++) {
    // A body of its own each time: the scrubber overwrites what it has copied.
    const own = Buffer.from(body);
    const before = process.cpuUsage();
    const passed = scrubbed(needles, own);
    const { user, system } = process.cpuUsage(before);
    best = Math.max(best, passed / (user + system) / 1000);
  }
  return best;
}

function scrubbed(needles: Needles, body: Buffer): number {
  let passed = 0;
  const scrubber = new Scrubber({ needles, replacement: replacementFor("bench-main"), sameLength: false });
  for (let at = 0; at < body.length; at += CHUNK) {
    for (const piece of scrubber.push(body.subarray(at, at + CHUNK), false)) passed += piece.length;
  }
  return passed;
}
