import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { applies, looksAtText, withoutBlanks } from "../../src/providers/answer-match.ts";
import { loadCatalog } from "../../src/providers/catalog.ts";
import {
  classifyTraffic,
  doubtsKey,
  mayBeFailure,
  TRAFFIC_BODY_BYTES,
  type TrafficMeaning,
} from "../../src/providers/classify-traffic.ts";
import type { ErrorRule, Provider } from "../../src/providers/schema.ts";
import { CATALOG_DIR } from "../support/running-sidekey.ts";
import { AI } from "./documented-ai.ts";
import { MARKET_DATA } from "./documented-market-data.ts";
import { TRADING } from "./documented-trading.ts";

const catalog = loadCatalog(CATALOG_DIR);
const DOCUMENTED = { ...MARKET_DATA, ...TRADING, ...AI };

function provider(id: string): Provider {
  const found = catalog.providers.get(id);
  assert.ok(found, `${id} is not in the catalog`);
  return found;
}

function meaningOf(
  of: Pick<Provider, "errors">,
  status: number,
  body: string,
  fields: readonly string[] = ["retry-after"],
): TrafficMeaning {
  return classifyTraffic(of, {
    status,
    body: Buffer.from(body),
    bodyKnown: true,
    has: (name) => fields.includes(name),
  });
}

for (const [id, cases] of Object.entries(DOCUMENTED)) {
  test(`${id}: what it answers to traffic is read as what it means`, () => {
    for (const [status, body, means] of cases)
      assert.equal(meaningOf(provider(id), status, body), means, `${status} ${body}`);
  });
}

test("every provider whose routes carry traffic and whose file has rules is in the table", () => {
  const ruled = [...catalog.providers.values()].filter(({ errors }) => errors.length > 0).map(({ id }) => id);
  assert.deepEqual(ruled.sort(), Object.keys(DOCUMENTED).sort());
});

test("every rule of every file has an answer in the table that it decides", () => {
  const idle: unknown[] = [];
  for (const [id, rows] of Object.entries(DOCUMENTED)) {
    const { errors } = provider(id);
    const deciding = new Set(rows.map(([status, body]) => decidingRule(errors, status, body)));
    // What depends on the fields has a test of its own.
    const others = errors.filter((rule) => !deciding.has(rule) && rule.absent === undefined);
    idle.push(...others.map((rule) => ({ id, ...rule })));
  }
  assert.deepEqual(idle, []);
});

function decidingRule(errors: readonly ErrorRule[], status: number, body: string): ErrorRule | undefined {
  const facts = { status, bare: withoutBlanks(Buffer.from(body)), has: () => true };
  const holding = errors.filter((rule) => applies(rule, facts));
  return holding.find(looksAtText) ?? holding[0];
}

test("Anthropic's 429 without retry-after is the monthly cap of the tier, and with it a rate limit", () => {
  const body = '{"type":"error","error":{"type":"rate_limit_error","message":"m"}}';
  assert.equal(meaningOf(provider("anthropic"), 429, body, []), "quota");
  assert.equal(meaningOf(provider("anthropic"), 429, body, ["retry-after"]), "limited");
  const unheard = { status: 429, body: Buffer.from(body), bodyKnown: true };
  assert.equal(classifyTraffic(provider("anthropic"), unheard), "limited", "nobody knows the fields");
});

/** What takes a key out of use, for all clients of it. */
const AGAINST_THE_KEY = new Set<TrafficMeaning>(["invalid", "quota", "limited", "unavailable"]);

test("what a client can have echoed inside a string of a good answer or a bad request never speaks against its key", () => {
  for (const each of catalog.providers.values()) {
    for (const rule of each.errors) {
      for (const text of [rule.match, rule.begins]) {
        if (text === undefined) continue;
        for (const status of [200, 206, 400, 404, 409, 413, 422]) {
          for (const body of echoes(text)) {
            const means = meaningOf(each, status, body);
            assert.ok(!AGAINST_THE_KEY.has(means), `${each.id} ${status} ${body} is read as ${means}`);
          }
        }
      }
    }
  }
});

/** Forms in which providers repeat a part of the request, or a third party's text stands in good data. */
function echoes(text: string): string[] {
  return [
    JSON.stringify({ error: { message: `The model ${text} does not exist`, type: "invalid_request_error" } }),
    JSON.stringify([{ title: text, text: `he said ${text}` }]),
    JSON.stringify({ data: [{ content: text }], articles: [{ title: `"${text}"` }] }),
  ];
}

test("a status means the same everywhere when the file says nothing", () => {
  const table: Readonly<Record<number, TrafficMeaning>> = {
    100: "ok",
    101: "ok",
    200: "ok",
    204: "ok",
    304: "ok",
    307: "ok",
    400: "request",
    401: "invalid",
    402: "quota",
    403: "forbidden",
    404: "request",
    407: "unknown",
    408: "request",
    409: "request",
    413: "request",
    422: "request",
    429: "limited",
    431: "request",
    499: "request",
    500: "unavailable",
    501: "request",
    502: "unavailable",
    503: "unavailable",
    504: "unavailable",
    505: "request",
    520: "unavailable",
    529: "unavailable",
    599: "unavailable",
    600: "unknown",
    999: "unknown",
  };
  for (const [status, means] of Object.entries(table))
    assert.equal(meaningOf({ errors: [] }, Number(status), "x"), means, status);
});

test("a text that the file does not know, under a status whose other texts it knows, says nothing about the key", () => {
  for (const [id, status] of [
    ["openai", 401],
    ["openai", 403],
    ["newsapi", 401],
    ["fmp", 403],
  ] as const) {
    assert.equal(meaningOf(provider(id), status, "<html>down for maintenance</html>"), "unknown", `${id} ${status}`);
  }
});

test("a body that could not be read is no evidence against a key, and a rate limit stays one", () => {
  for (const each of catalog.providers.values()) {
    for (let status = 100; status < 600; status++) {
      const means = classifyTraffic(each, { status, body: Buffer.alloc(0), bodyKnown: false });
      const textual = each.errors.some(
        (rule) => (rule.match ?? rule.begins) !== undefined && (rule.status ?? status) === status,
      );
      if (textual) assert.ok(!["invalid", "quota", "session"].includes(means), `${each.id} ${status} ${means}`);
      if (status < 400) assert.equal(means, "ok", `${each.id} ${status}`);
      if (status === 429) assert.equal(means, "limited", each.id);
    }
  }
});

test("whether a body has to be looked at: every failure, and a good status that the file has rules for", () => {
  assert.equal(mayBeFailure(provider("openai"), 200), false);
  assert.equal(mayBeFailure(provider("alpha-vantage"), 200), true);
  assert.equal(mayBeFailure(provider("fmp"), 204), false);
  assert.equal(mayBeFailure(provider("openai"), 304), false);
  for (const status of [400, 401, 429, 500, 599]) assert.equal(mayBeFailure(provider("openai"), status), true);
  // Anything that is not called a possible failure must be good whatever its body is.
  for (const each of catalog.providers.values()) {
    for (let status = 200; status < 400; status++) {
      if (!mayBeFailure(each, status)) assert.equal(meaningOf(each, status, "Unauthenticated"), "ok");
    }
  }
});

test("only the beginning of a body is looked at", () => {
  const late = `${" ".repeat(TRAFFIC_BODY_BYTES)}{"Error Message":"Limit Reach"}`;
  assert.equal(meaningOf(provider("fmp"), 200, late), "ok");
  const early = `${" ".repeat(TRAFFIC_BODY_BYTES - 100)}{"Error Message":"Limit Reach"}`;
  assert.equal(meaningOf(provider("fmp"), 200, early), "quota");
});

test("the body that was given is not changed, and any bytes are read without an error", () => {
  const ids = [...catalog.providers.keys()];
  fc.assert(
    fc.property(
      fc.constantFrom(...ids),
      fc.integer({ min: 0, max: 999 }),
      fc.uint8Array({ maxLength: 300 }),
      (id, status, bytes) => {
        const body = Buffer.from(bytes);
        const before = Buffer.from(body);
        classifyTraffic(provider(id), { status, body, bodyKnown: true });
        assert.ok(body.equals(before));
      },
    ),
  );
});

test("the provider is asked about a key when it was refused, and when a 401 or 403 is not understood", () => {
  const asked = (
    ["ok", "invalid", "forbidden", "quota", "limited", "plan", "retired", "session", "unavailable", "request"] as const
  ).filter((meaning) => doubtsKey(meaning, 403));
  assert.deepEqual(asked, ["invalid", "forbidden", "quota", "session"]);
  assert.deepEqual(
    [400, 401, 403, 404, 500].filter((status) => doubtsKey("unknown", status)),
    [401, 403],
  );
});
