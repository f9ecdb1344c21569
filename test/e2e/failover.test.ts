import assert from "node:assert/strict";
import { test } from "node:test";
import { findCanary } from "../support/canary.ts";
import { pause } from "../support/running-sidekey.ts";
import type { StandInAnswer } from "../support/stand-in.ts";
import { type Answer, FORMS, formClient } from "./form-client.ts";
import { MAIN, SPARE, twoKeys } from "./two-keys.ts";

const TIMEOUT = { timeout: 20_000 };
const RETRY = "retry: { attempts: 3, on: [refused, limited, connect, unavailable], within: 10s }";

const INVALID: StandInAnswer = {
  status: 401,
  headers: { "content-type": "application/json", "x-refused": "yes" },
  body: '{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}',
};
const LIMITED: StandInAnswer = { status: 429, headers: { "retry-after": "30" }, body: '{"error":{"message":"slow"}}' };
const FAILING: StandInAnswer = { status: 500, body: '{"error":{"message":"oops"}}' };

const attempts = (answer: Answer): string => answer.values("sidekey-attempts").join();
const post = (body = '{"input":"x"}', headers = {}) => ({ method: "POST", path: "/v1/x", body, headers });

for (const form of FORMS) {
  test(
    `${form}: a refused key is replaced by the other one, and the client sees only the good answer`,
    TIMEOUT,
    async (t) => {
      const { sidekey, asked } = await twoKeys(t, RETRY, (key) => (key === "main" ? INVALID : { body: "welcome" }));
      const client = formClient(t, form, sidekey);
      const answer = await client.ask(post());
      assert.deepEqual([answer.status, String(answer.body), answer.values("x-refused")], [200, "welcome", []]);
      assert.equal(attempts(answer), "main;v=1;s=401;m=invalid, spare;v=1;s=200");
      assert.deepEqual(asked(), ["main POST /v1/x", "spare POST /v1/x"]);
      const [line] = await sidekey.requestsLogged(1);
      assert.deepEqual([line?.credential, line?.status, line?.attempts], ["spare", 200, 2]);
    },
  );
}

test("the body is sent again as it was, whatever it is", TIMEOUT, async (t) => {
  const bodies: Buffer[] = [];
  const { client } = await twoKeys(t, RETRY, (key, request) => {
    bodies.push(Buffer.from(request.body));
    return key === "main" ? LIMITED : { body: "ok" };
  });
  const body = Buffer.alloc(300_000, "\u00e9\u0000x\r\n", "latin1");
  assert.equal((await client.ask({ ...post(), body })).status, 200);
  assert.equal(bodies.length, 2);
  for (const each of bodies) assert.ok(each.equals(body));
});

test("a body that is too long to be held is sent once, and its 429 passes", TIMEOUT, async (t) => {
  const { client, asked } = await twoKeys(t, RETRY, () => LIMITED);
  const answer = await client.ask({ ...post(), body: Buffer.alloc(1_200_000, "x") });
  assert.deepEqual([answer.status, attempts(answer), asked().length], [429, "main;v=1;s=429;m=limited", 1]);
});

test(
  "without `retry` the answer passes as it is; the pool uses the other key for the next request, and the first is checked",
  TIMEOUT,
  async (t) => {
    const { client, standIn, asked } = await twoKeys(t, "", (key) => (key === "main" ? INVALID : { body: "ok" }));
    const refused = await client.ask(post());
    assert.deepEqual([refused.status, refused.values("x-refused"), attempts(refused)], [401, ["yes"], ""]);
    assert.equal((await client.ask(post())).status, 200);
    assert.deepEqual(asked(), ["main POST /v1/x", "spare POST /v1/x"]);
    while (!standIn.requests.some(({ target }) => target === "/v1/models")) await pause(10);
    // Its check found the key good, so it comes back.
    while ((await client.ask(post())) && !asked().slice(2).includes("main POST /v1/x")) await pause(50);
  },
);

test(
  "a key that a 429 holds is left alone by all clients until then, and the other one serves them",
  TIMEOUT,
  async (t) => {
    const { client, sidekey, asked } = await twoKeys(t, RETRY, (key) => (key === "main" ? LIMITED : { body: "ok" }));
    assert.equal(attempts(await client.ask(post())), "main;v=1;s=429;m=limited, spare;v=1;s=200");
    const other = formClient(t, "origin", { ...sidekey, client: "other" });
    for (const each of [client, other]) assert.equal(attempts(await each.ask(post())), "spare;v=1;s=200");
    assert.equal(asked().filter((one) => one.startsWith("main")).length, 1);
    const metrics = await (await fetch(`${sidekey.metricsUrl}/metrics`)).text();
    assert.match(metrics, /^sidekey_provider_held\{credential="main"\} 1$/m);
    assert.match(metrics, /^sidekey_retries_total\{route="openai",reason="limited"\} 1$/m);
  },
);

test("what was perhaps carried out is sent again only when repeating it does no harm", TIMEOUT, async (t) => {
  for (const [ask, tries] of [
    [post(), 1],
    [{ ...post(), headers: { "idempotency-key": "k1" } }, 3],
    [{ method: "GET", path: "/v1/x" }, 3],
    [{ method: "PUT", path: "/v1/x", body: "{}" }, 3],
    [{ method: "PATCH", path: "/v1/x", body: "{}" }, 1],
    [{ method: "GET", path: "/v1/x", headers: { "x-stainless-retry-count": "1" } }, 1],
  ] as const) {
    const { client, asked } = await twoKeys(t, RETRY, () => FAILING);
    const answer = await client.ask(ask);
    assert.deepEqual([answer.status, asked().length], [500, tries], JSON.stringify(ask));
    assert.equal(attempts(answer).split(", ").length, tries);
  }
});

test(
  "a connection that breaks before the answer is tried again for GET, and a POST ends with 502",
  TIMEOUT,
  async (t) => {
    for (const [method, expected] of [
      ["GET", 200],
      ["POST", 502],
    ] as const) {
      let first = true;
      const { client, asked } = await twoKeys(t, RETRY, (_key, _request, socket) => {
        if (!first) return { body: "ok" };
        first = false;
        socket.destroy();
      });
      const answer = await client.ask({ method, path: "/v1/x", ...(method === "POST" ? { body: "{}" } : {}) });
      assert.equal(answer.status, expected);
      assert.equal(attempts(answer).startsWith("main;v=1;m=connect"), true, attempts(answer));
      assert.equal(asked().length, method === "GET" ? 2 : 1);
    }
  },
);

test("a stream is judged by its head and passes untouched from there", TIMEOUT, async (t) => {
  const events = ["data: one\n\n", "data: two\n\n", "data: [DONE]\n\n"];
  const { client } = await twoKeys(t, RETRY, (key) =>
    key === "main" ? LIMITED : { headers: { "content-type": "text/event-stream" }, body: events },
  );
  const answer = await client.ask(post('{"stream":true}'));
  assert.deepEqual([answer.status, String(answer.body), answer.complete], [200, events.join(""), true]);
});

test("an outage is not met with a multiple of the traffic", TIMEOUT, async (t) => {
  const requests = 60;
  const { sidekey, asked } = await twoKeys(t, "retry: { attempts: 5, on: [refused], within: 20s }", () => INVALID);
  for (let n = 0; n < requests; n++) {
    const { status } = await formClient(t, "absolute", sidekey).ask(post());
    assert.ok(status === 401 || status === 503, String(status));
  }
  // A fifth of the first tries, and ten.
  assert.ok(asked().length <= requests * 1.2 + 10, `${asked().length} for ${requests}`);
});

test("what fails again and again is left alone, and found out to be well by one request", TIMEOUT, async (t) => {
  let well = false;
  const { client, asked, sidekey } = await twoKeys(t, "", () => (well ? { body: "ok" } : FAILING));
  const seen: string[] = [];
  for (let n = 0; n < 13; n++) {
    const answer = await client.ask({ path: "/v1/x" });
    seen.push(`${answer.status} ${answer.values("sidekey-error").join()}`);
    if (answer.status === 503) assert.ok(Number(answer.values("retry-after")[0]) >= 1);
  }
  assert.deepEqual(seen, [...new Array(10).fill("500 "), ...new Array(3).fill("503 upstream_unavailable")]);
  assert.equal(asked().length, 10, "five with each key");
  const metrics = await (await fetch(`${sidekey.metricsUrl}/metrics`)).text();
  assert.match(metrics, /^sidekey_breakers_open\{upstream="api.openai.com:443"\} 2$/m);
  well = true;
  let answer = await client.ask({ path: "/v1/x" });
  while (answer.status !== 200) {
    await pause(100);
    answer = await client.ask({ path: "/v1/x" });
  }
  assert.equal(asked().length, 11);
});

test("with `pace` a key without room makes way for one that has some", TIMEOUT, async (t) => {
  const spent = {
    "x-ratelimit-limit-requests": "10",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "60s",
  };
  const { client, asked } = await twoKeys(t, "pace: on", (key) =>
    key === "main" ? { headers: spent, body: "ok" } : { body: "ok" },
  );
  for (let n = 0; n < 4; n++) assert.equal((await client.ask(post())).status, 200);
  assert.deepEqual(
    asked(),
    ["main", "spare", "spare", "spare"].map((key) => `${key} POST /v1/x`),
  );
});

test("limits that count a credential follow the request to the other key", TIMEOUT, async (t) => {
  const limit = "limits: [ { name: plan, per: [credential], requests: 3/h, burst: 3 } ]";
  const { client, asked } = await twoKeys(t, `${RETRY}, ${limit}`, (key) =>
    key === "main" ? LIMITED : { body: "ok" },
  );
  for (let n = 0; n < 3; n++) assert.equal((await client.ask(post())).status, 200);
  assert.equal((await client.ask(post())).values("sidekey-error").join(), "limit_exceeded");
  assert.equal(asked().filter((one) => one.startsWith("spare")).length, 3);
});

test("whatever is tried, each key reaches only the provider, and neither the client", TIMEOUT, async (t) => {
  const { client, sidekey } = await twoKeys(t, RETRY, (key, request) => {
    const echo = request.values("authorization").join();
    return key === "main"
      ? { ...(INVALID as object), body: echo }
      : { headers: { "x-echo": echo }, body: `you sent ${echo}` };
  });
  const answer = await client.ask(post());
  const seen = [String(answer.body), JSON.stringify(answer.fields), sidekey.log()];
  for (const key of [MAIN, SPARE]) assert.deepEqual(findCanary(seen, { text: key, bytes: Buffer.from(key) }), []);
  assert.match(String(answer.body), /\[sidekey:(main|spare)\]/);
});
