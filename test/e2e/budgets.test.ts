import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { reportUsage } from "../../src/store/usage-query.ts";
import { pause } from "../support/running-sidekey.ts";
import { type StandIn, type StandInAnswer, type StandInHandler, startStandIn } from "../support/stand-in.ts";
import { type Answer, FORMS, formClient } from "./form-client.ts";
import { HOST, type OneRoute, oneRoute, PRICES } from "./one-route.ts";

const TIMEOUT = { timeout: 20_000 };

interface Setup {
  readonly standIn: StandIn;
  readonly sidekey: OneRoute;
  /** Asks for a chat completion of `maxTokens`, with a prompt of about 10 tokens. */
  chat(maxTokens: number | null, more?: object): Promise<Answer>;
}

async function start(t: TestContext, limit: string, handler: StandInHandler, more = ""): Promise<Setup> {
  const standIn = await startStandIn(t, { hostnames: [HOST], handler });
  const sidekey = await oneRoute(t, standIn, `limits: [ ${limit} ]${more}`, { prices: PRICES });
  return {
    standIn,
    sidekey,
    chat: (maxTokens, more = {}) =>
      formClient(t, "absolute", sidekey).ask({
        method: "POST",
        path: "/v1/chat/completions",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({
          model: "gpt-t",
          messages: [{ role: "user", content: "hello" }],
          ...(maxTokens === null ? {} : { max_tokens: maxTokens }),
          ...more,
        }),
      }),
  };
}

/** An answer of a chat completion that used so many tokens. */
function used(input: number, output: number): StandInAnswer {
  const usage = { prompt_tokens: input, completion_tokens: output, total_tokens: input + output };
  const message = { role: "assistant", content: "hi" };
  return {
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      id: "c",
      object: "chat.completion",
      model: "gpt-t",
      choices: [{ index: 0, message }],
      usage,
    }),
  };
}

/** What is left of the one limit, as an answer tells it. */
function left(answer: Answer): number {
  return Number(/r=(\d+)/.exec(answer.values("ratelimit").join())?.[1]);
}

for (const form of FORMS) {
  test(
    `${form}: what a call used is taken from the budget, and the next one that does not fit is refused`,
    TIMEOUT,
    async (t) => {
      const { standIn, sidekey } = await start(t, "{ name: tokens, per: [client], tokens: 1000/day, zone: UTC }", () =>
        used(300, 600),
      );
      const client = formClient(t, form, sidekey);
      const ask = () =>
        client.ask({
          method: "POST",
          path: "/v1/chat/completions",
          headers: { "content-type": "application/json" },
          body: '{"model":"gpt-t","max_tokens":200,"messages":[{"role":"user","content":"hello"}]}',
        });
      assert.equal((await ask()).status, 200);
      const refused = await ask();
      assert.deepEqual([refused.status, refused.values("sidekey-error")], [429, ["budget_exceeded"]]);
      assert.equal(left(refused), 100);
      const seconds = Number(refused.values("retry-after")[0]);
      assert.ok(seconds > 0 && seconds <= 86_400, `Retry-After ${seconds}`);
      assert.match(String(JSON.parse(String(refused.body)).detail), /tokens/);
      assert.equal(standIn.requests.length, 1);
    },
  );
}

test("a dollar budget counts by the price table, and the record shows the same cost", TIMEOUT, async (t) => {
  const { sidekey, chat } = await start(t, "{ name: spend, per: [route], usd: 0.01/h }", () => used(2000, 3000));
  assert.equal((await chat(1000)).status, 200);
  const second = await chat(1000);
  assert.equal(second.status, 200);
  assert.match(second.values("ratelimit-policy").join(), /"spend";q=10000;qu="micro-usd";w=3600/);
  const third = await chat(1000);
  assert.deepEqual([third.status, third.values("sidekey-error"), left(third)], [429, ["budget_exceeded"], 0]);
  await sidekey.requestsLogged(3);
  await sidekey.daemon.stop();
  const { total } = reportUsage(join(sidekey.dataDir, "usage.db"), { by: "model", sinceMs: 0 });
  assert.equal(String(total.exactNano), "10000000");
});

test(
  "a call without a price is refused where a dollar budget says so, and passes where it allows it",
  TIMEOUT,
  async (t) => {
    const denied = await start(t, "{ name: spend, per: [route], usd: 1/day }", () => used(1, 1));
    const refused = await denied.chat(10, { model: "gpt-unknown" });
    assert.deepEqual([refused.status, JSON.parse(String(refused.body)).reason], [429, "unpriced"]);
    assert.equal(denied.standIn.requests.length, 0);
    const allowed = await start(t, "{ name: spend, per: [route], usd: 1/day, unpriced: allow }", () => used(1, 1));
    assert.equal((await allowed.chat(10, { model: "gpt-unknown" })).status, 200);
  },
);

test(
  "a strict budget lets through only what fits at its most expensive, and gives back what was not used",
  TIMEOUT,
  async (t) => {
    const strict = "{ name: tokens, per: [client], tokens: 2000/day, zone: UTC, strict: true }";
    const { chat, standIn } = await start(t, strict, () => used(10, 5));
    const unbounded = await chat(null);
    assert.deepEqual([unbounded.status, JSON.parse(String(unbounded.body)).reason], [429, "unbounded"]);
    const large = await chat(5000);
    assert.deepEqual([large.status, JSON.parse(String(large.body)).reason], [429, "too_large"]);
    assert.equal(standIn.requests.length, 0);
    for (let n = 0; n < 5; n++) {
      const answer = await chat(800);
      assert.equal(answer.status, 200, String(answer.body));
    }
    assert.equal((await chat(1400)).status, 200, "1925 are left, although 5 times 800 had been reserved");
  },
);

test("calls in flight count with their estimate, and are settled in any order", TIMEOUT, async (t) => {
  const waiting: (() => void)[] = [];
  const { chat, standIn } = await start(
    t,
    "{ name: tokens, per: [client], tokens: 3000/day, zone: UTC, strict: true }",
    () => {
      return new Promise<StandInAnswer>((resolve) => waiting.push(() => resolve(used(10, 40))));
    },
  );
  const calls = [chat(800), chat(800)];
  while (standIn.requests.length < 2) await pause(5);
  assert.equal((await chat(800)).values("sidekey-error").join(), "budget_exceeded", "two may use 800 and more each");
  for (const answer of waiting.splice(0).reverse()) answer();
  assert.deepEqual(
    (await Promise.all(calls)).map(({ status }) => status),
    [200, 200],
  );
  const next = chat(2400);
  while (standIn.requests.length < 3) await pause(5);
  waiting.shift()?.();
  assert.equal((await next).status, 200, "100 of 3000 were used");
});

test("errors of the provider cost nothing, and what never left is given back", TIMEOUT, async (t) => {
  const limit = "{ name: tokens, per: [client], tokens: 2000/day, zone: UTC, strict: true }";
  const statuses = [400, 401, 500, 200];
  const { chat } = await start(t, limit, ({ method }) => {
    // The check of the key that a 401 sets off asks with GET.
    const status = method === "POST" ? (statuses.shift() ?? 200) : 200;
    return status === 200 ? used(5, 5) : { status, body: '{"error":{"message":"no"}}' };
  });
  for (const status of [400, 401, 500]) assert.equal((await chat(1500)).status, status);
  assert.equal((await chat(1500)).status, 200);
  assert.equal((await chat(1500)).status, 200, "10 of 2000 were used");
});

test("a client that leaves in mid-stream is charged what was delivered, marked partial", TIMEOUT, async (t) => {
  const event = (delta: object) => `data: ${JSON.stringify({ model: "gpt-t", choices: [{ index: 0, delta }] })}\n\n`;
  let cut = false;
  const { sidekey, standIn } = await start(t, "{ name: tokens, per: [client], tokens: 100000/day, zone: UTC }", () => ({
    headers: { "content-type": "text/event-stream" },
    body: (async function* () {
      for (let n = 0; n < 400 && !cut; n++) {
        yield event({ content: "word word word word " });
        await pause(5);
      }
    })(),
  }));
  const client = formClient(t, "absolute", sidekey);
  const exchange = await client.open({
    method: "POST",
    path: "/v1/chat/completions",
    headers: { "content-type": "application/json" },
  });
  exchange.request.end('{"model":"gpt-t","stream":true,"messages":[{"role":"user","content":"hello"}]}');
  const { body } = await exchange.answer;
  let seen = 0;
  await new Promise<void>((resolve) => {
    body.on("data", (chunk: Buffer) => {
      seen += chunk.length;
      if (seen > 2_000) resolve();
    });
    body.on("error", () => {});
  });
  exchange.abort();
  const [line] = await sidekey.requestsLogged(1);
  cut = true;
  assert.equal(standIn.requests.length, 1);
  assert.equal(line?.outcome, "client_closed");
  assert.equal(line?.usage, "estimated");
  assert.ok(Number(line?.tokens_out) > 50 && Number(line?.tokens_out) < 4_000, JSON.stringify(line));
});

test("a budget's warnings are alerts, once each", TIMEOUT, async (t) => {
  const { sidekey, chat } = await start(
    t,
    "{ name: tokens, per: [client], tokens: 1000/day, zone: UTC, warn: [50, 80] }",
    () => used(100, 200),
  );
  for (let n = 0; n < 3; n++) assert.equal((await chat(100)).status, 200);
  const levels = () =>
    [...sidekey.log().matchAll(/"percent":(\d+)[^\n]*"msg":"budget_level"/g)].map(([, level]) => level);
  while (levels().length < 2) await pause(5);
  assert.equal((await chat(10)).status, 200);
  assert.deepEqual(levels(), ["50", "80"]);
  assert.match(sidekey.log(), /"kind":"budget_threshold"[^\n]*"msg":"alert_opened"/);
});

test("what is left survives a restart", TIMEOUT, async (t) => {
  const limit = "{ name: tokens, per: [client], tokens: 1000/day, zone: UTC }";
  const { sidekey, chat } = await start(t, limit, () => used(300, 600));
  assert.equal((await chat(10)).status, 200);
  const restarted = await sidekey.restart();
  const client = formClient(t, "absolute", { ...sidekey, ...restarted });
  const again = await client.ask({
    method: "POST",
    path: "/v1/chat/completions",
    headers: { "content-type": "application/json" },
    body: '{"model":"gpt-t","max_tokens":500,"messages":[]}',
  });
  assert.deepEqual([again.status, again.values("sidekey-error"), left(again)], [429, ["budget_exceeded"], 100]);
});

test(
  "RateLimit fields are on every answer of a limited route, sidekey's in place of the provider's, and a route can do without",
  TIMEOUT,
  async (t) => {
    const handler: StandInHandler = () => ({
      headers: { ratelimit: '"theirs";r=5', "ratelimit-policy": '"theirs";q=9' },
      body: "x",
    });
    const on = await start(t, "{ name: plan, per: [client], requests: 10/h, burst: 10 }", handler);
    const answer = await on.chat(1);
    assert.deepEqual(answer.values("ratelimit-policy"), ['"plan";q=10;w=3600']);
    assert.match(answer.values("ratelimit").join("|"), /^"plan";r=9;t=\d+$/);
    const off = await start(
      t,
      "{ name: plan, per: [client], requests: 10/h }",
      handler,
      ", response: { rateLimit: off }",
    );
    assert.deepEqual((await off.chat(1)).values("ratelimit"), ['"theirs";r=5']);
  },
);
