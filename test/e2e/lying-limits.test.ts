import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type StandInAnswer, startStandIn } from "../support/stand-in.ts";
import { type Answer, formClient } from "./form-client.ts";
import { HOST, oneRoute } from "./one-route.ts";

/** Seconds, an hour, and a second for what is added at random. */
const LONGEST = 3_601;
const TWENTY_YEARS = new Date(Date.now() + 20 * 365 * 86_400_000).toUTCString();

type Headers = Readonly<Record<string, string | readonly string[]>>;

/** The answers to two requests, one after the other; `lie` answers the first, all others are well. */
async function lied(t: TestContext, lie: StandInAnswer, pace: string): Promise<readonly [Answer, Answer]> {
  let first = true;
  const standIn = await startStandIn(t, {
    hostnames: [HOST],
    handler: () => {
      const answer = first ? lie : { body: "ok" };
      first = false;
      return answer;
    },
  });
  const client = formClient(t, "absolute", await oneRoute(t, standIn, `pace: ${pace}`));
  return [await client.ask(), await client.ask()];
}

/** 429s, and for how many seconds the credential is held then, at least and at most; null: for less than is waited. */
const REFUSALS: Readonly<Record<string, { headers: Headers; held: readonly [number, number] | null }>> = {
  "a year": { headers: { "retry-after": "31536000" }, held: [3600, LONGEST] },
  "a date in twenty years": { headers: { "retry-after": TWENTY_YEARS }, held: [3600, LONGEST] },
  "a date of 1970": { headers: { "retry-after": "Thu, 01 Jan 1970 00:00:00 GMT" }, held: null },
  "a negative time": { headers: { "retry-after": "-5" }, held: null },
  "no time at all": { headers: { "retry-after": "0" }, held: null },
  "many digits": { headers: { "retry-after": "9".repeat(400) }, held: null },
  "a word": { headers: { "retry-after": "soon" }, held: null },
  "two times, the first one counts": { headers: { "retry-after": ["30", "7200"] }, held: [30, 34] },
  "two that contradict": { headers: { "retry-after": "1", "retry-after-ms": "99999999999" }, held: [3600, LONGEST] },
  "a clock of 2099": {
    headers: { date: "Thu, 01 Jan 2099 00:00:00 GMT", "retry-after": "Thu, 01 Jan 2099 00:00:30 GMT" },
    held: [29, 34],
  },
};

for (const [name, { headers, held }] of Object.entries(REFUSALS)) {
  test(`a 429 that says ${name}`, { timeout: 30_000, concurrency: true }, async (t) => {
    for (const pace of held === null ? ["off"] : ["off", "on"]) {
      const [first, second] = await lied(t, { status: 429, headers, body: "{}" }, pace);
      assert.equal(first.status, 429);
      assert.deepEqual(first.values("sidekey-error"), [], "the first one is the provider's own");
      if (held === null) {
        assert.equal(second.status, 200);
        continue;
      }
      assert.deepEqual([second.status, second.values("sidekey-error")], [429, ["limit_exceeded"]]);
      const seconds = Number(second.values("retry-after")[0]);
      assert.ok(seconds >= held[0] && seconds <= held[1], `held for ${seconds} s`);
    }
  });
}

const LIMIT = "x-ratelimit-limit-requests";
const LEFT = "x-ratelimit-remaining-requests";
const RESET = "x-ratelimit-reset-requests";

/** Good answers whose limits are nonsense: nobody is refused for it. */
const NONSENSE: Readonly<Record<string, Headers>> = {
  "more left than there is": { [LIMIT]: "5", [LEFT]: "500", [RESET]: "1h" },
  "less than nothing left": { [LIMIT]: "5", [LEFT]: "-1", [RESET]: "1h" },
  "no numbers": { [LIMIT]: "NaN", [LEFT]: "1e999", [RESET]: "1h" },
  "a reset in ten thousand years": { [LIMIT]: "5", [LEFT]: "0", [RESET]: "99999999h" },
  "a reset of five thousand parts": { [LIMIT]: "5", [LEFT]: "0", [RESET]: "1h".repeat(5_000) },
  "a reset that is negative": { [LIMIT]: "5", [LEFT]: "0", [RESET]: "-5s" },
  "a thousand policies": { ratelimit: Array(1_000).fill('"a";r=0;t=9').join(", ") },
};

for (const [name, headers] of Object.entries(NONSENSE)) {
  test(`a good answer that tells ${name}`, { timeout: 30_000 }, async (t) => {
    for (const pace of ["off", "on"]) {
      const [first, second] = await lied(t, { headers, body: "ok" }, pace);
      assert.deepEqual([first.status, second.status], [200, 200], `pace ${pace}`);
    }
  });
}
