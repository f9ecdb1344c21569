import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { startStandIn } from "../support/stand-in.ts";
import { type Answer, type FormClient, formClient } from "./form-client.ts";
import { HOST, type OneRoute, oneRoute, outcomes } from "./one-route.ts";

const TIMEOUT = { timeout: 60_000 };

const YEAR_MS = 365 * 86_400_000;
/** A hold is an hour at most, and a second more so that not all come back at once. */
const LONGEST_HOLD_S = 3_602;

type Headers = Readonly<Record<string, string | readonly string[]>>;

interface Scene {
  readonly sidekey: OneRoute;
  readonly client: FormClient;
  asked(): number;
}

/** A daemon whose provider answers once with the lie, and then well. */
async function start(t: TestContext, status: number, headers: Headers, more = ""): Promise<Scene> {
  let lied = false;
  const standIn = await startStandIn(t, {
    hostnames: [HOST],
    handler: () => {
      if (lied) return { body: "ok" };
      lied = true;
      return { status, headers, body: "a lie" };
    },
  });
  const sidekey = await oneRoute(t, standIn, more);
  return { sidekey, client: formClient(t, "absolute", sidekey), asked: () => standIn.requests.length };
}

const httpDate = (fromNowMs: number): string => new Date(Date.now() + fromNowMs).toUTCString();

/** The next request is refused for about so many seconds, or, for 0, it waits for a moment and gets through. */
const RETRY_TIMES: Readonly<Record<string, readonly [Headers, number]>> = {
  "a year": [{ "retry-after": "31536000" }, 3_600],
  "a date 20 years ahead": [{ "retry-after": httpDate(20 * YEAR_MS) }, 3_600],
  "a date in the past": [{ "retry-after": httpDate(-YEAR_MS) }, 0],
  "a date of 1970": [{ "retry-after": "Thu, 01 Jan 1970 00:00:00 GMT" }, 0],
  "a date that does not exist": [{ "retry-after": "Tue, 31 Feb 2040 00:00:00 GMT" }, 0],
  "a negative time": [{ "retry-after": "-31536000" }, 0],
  zero: [{ "retry-after": "0" }, 0],
  "30 digits": [{ "retry-after": "9".repeat(30) }, 0],
  "an exponent": [{ "retry-after": "1e9" }, 0],
  Infinity: [{ "retry-after": "Infinity" }, 0],
  garbage: [{ "retry-after": "soon, please" }, 0],
  "10 KB": [{ "retry-after": "1".repeat(10_000) }, 0],
  "two times": [{ "retry-after": ["20", "31536000"] }, 20],
  "milliseconds that contradict the seconds": [{ "retry-after": "31536000", "retry-after-ms": "50" }, 0],
  "negative milliseconds": [{ "retry-after": "20", "retry-after-ms": "-1" }, 20],
  "a date on a clock that is a year ahead": [
    { date: httpDate(YEAR_MS), "retry-after": httpDate(YEAR_MS + 20_000) },
    20,
  ],
  "a date on a clock that is 20 years behind": [
    { date: httpDate(-20 * YEAR_MS), "retry-after": httpDate(-20 * YEAR_MS + 20_000) },
    20,
  ],
  "a reset in a hundred years": [
    {
      "x-ratelimit-limit-requests": "9",
      "x-ratelimit-remaining-requests": "0",
      "x-ratelimit-reset-requests": "876000h",
    },
    0,
  ],
  "a reset in a week": [
    { "x-ratelimit-limit-requests": "9", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "168h" },
    3_600,
  ],
};

function assertHeld(answer: Answer, seconds: number, what: string): void {
  assert.deepEqual([answer.status, answer.values("sidekey-error")], [429, ["limit_exceeded"]], what);
  assert.equal(JSON.parse(String(answer.body)).reason, "provider_limit", what);
  const after = Number(answer.values("retry-after")[0]);
  assert.ok(after > seconds / 2 && after <= Math.min(LONGEST_HOLD_S, seconds * 1.2 + 2), `${what}: ${after}`);
}

for (const [what, [headers, seconds]] of Object.entries(RETRY_TIMES)) {
  test(`a refusal that tells ${what} holds the key for a bounded time`, TIMEOUT, async (t) => {
    const { sidekey, client, asked } = await start(t, 429, headers);
    const refused = await client.ask();
    assert.equal(`${refused.status} ${refused.body}`, "429 a lie");
    const next = await client.ask();
    if (seconds === 0) assert.equal(`${next.status} ${next.body}`, "200 ok", what);
    else assertHeld(next, seconds, what);
    assert.equal(asked(), seconds === 0 ? 2 : 1);
    const held = await (await fetch(`${sidekey.metricsUrl}/metrics`)).text();
    assert.match(held, new RegExp(`^sidekey_provider_held\\{credential="main"\\} ${seconds === 0 ? 0 : 1}$`, "m"));
    assert.deepEqual(await outcomes(sidekey, 2), ["provider_4xx", seconds === 0 ? "ok" : "limit_exceeded"]);
  });
}

test("a hold that was told too long ends no later after a restart", TIMEOUT, async (t) => {
  const { sidekey, client } = await start(t, 429, { "retry-after": "31536000" });
  assert.equal((await client.ask()).status, 429);
  const restarted = await sidekey.restart();
  const again = await formClient(t, "absolute", { ...sidekey, ...restarted }).ask();
  assertHeld(again, 3_600, "after the restart");
});

const requests = (limit: string, remaining: string, reset: string): Headers => ({
  "x-ratelimit-limit-requests": limit,
  "x-ratelimit-remaining-requests": remaining,
  "x-ratelimit-reset-requests": reset,
});

/** Good answers that lie about what is left; what is told to operators afterwards. */
const WINDOWS: Readonly<Record<string, readonly [Headers, number | null]>> = {
  "more left than there is": [requests("10", "99", "60s"), 10],
  "less than nothing": [requests("10", "-5", "60s"), null],
  "what is no number": [requests("NaN", "NaN", "NaN"), null],
  "30 digits": [requests("9".repeat(30), "9".repeat(30), "1s"), null],
  "nothing until a year that never comes": [requests("10", "0", "253402300799000"), 0],
  "nothing for 9999 hours": [requests("10", "0", "9999h"), 0],
  "nothing since 2001": [requests("10", "0", "1000000001"), 0],
  "nothing, without an end": [{ "x-ratelimit-limit-requests": "10", "x-ratelimit-remaining-requests": "0" }, 0],
  "a limit of nothing": [requests("0", "0", "9999h"), 0],
  "a list of many limits": [{ ratelimit: Array.from({ length: 1_000 }, (_, n) => `"l${n}";r=0;t=9`).join(", ") }, null],
};

for (const [what, [headers, told]] of Object.entries(WINDOWS)) {
  test(`with pace, an answer that tells ${what} stops nobody for good`, TIMEOUT, async (t) => {
    const { sidekey, client } = await start(t, 200, headers, "pace: on");
    for (let n = 0; n < 3; n++) assert.equal((await client.ask()).status, 200, `${what}: request ${n}`);
    const metrics = await (await fetch(`${sidekey.metricsUrl}/metrics`)).text();
    const remaining = /^sidekey_provider_remaining\{credential="main",kind="requests"\} (\S+)$/m.exec(metrics);
    assert.ok(told === null ? remaining === null : Number(remaining?.[1]) <= told, `${what}: ${remaining?.[1]}`);
    assert.deepEqual(await outcomes(sidekey, 3), ["ok", "ok", "ok"]);
  });
}

test("with pace, a month without anything left is asked about again after an hour", TIMEOUT, async (t) => {
  const { client, asked } = await start(t, 200, requests("10", "0", "720h"), "pace: on");
  assert.equal((await client.ask()).status, 200);
  assertHeld(await client.ask(), 3_600, "a month");
  assert.equal(asked(), 1);
});
