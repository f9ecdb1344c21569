import assert from "node:assert/strict";
import test from "node:test";
import { parsePolicy } from "../../src/policy/parse.ts";
import { PolicyError } from "../../src/policy/problem.ts";
import { problemsOf } from "./policy-fixture.ts";

/** A policy around one route; `lines` begin at line 9 of the file. */
function route(...lines: string[]): string {
  const head = ["version: 1", "clients:", "  app: { token: true }", "routes:", "  p:"];
  const body = [
    "    provider: p",
    "    credentials: [p-main]",
    "    clients: [app]",
    ...lines.map((line) => `    ${line}`),
  ];
  return [...head, ...body, ""].join("\n");
}

const PROBLEMS: readonly [sentence: string, yaml: string, ...expected: string[]][] = [
  [
    "an unknown key",
    route("credential: x"),
    "policy.yaml:9 routes.p.credential: unknown key; remove it or correct its spelling",
  ],
  ["an alias", route("private: *x"), "policy.yaml:9: alias *x is not accepted; write the value out"],
  ["an anchor", route("hosts: &h [api.p.test]"), "policy.yaml:9: anchor &h is not accepted; remove it"],
  [
    "a merge key",
    route("timeouts: { <<: { idle: 1s } }"),
    "policy.yaml:9: merge key << is not accepted; write the entries out",
  ],
  ["a duplicate key", route("clients: [app]"), 'policy.yaml:9: duplicate key "clients"; keep one of them'],
  ["a tag", route("hosts: !!set {}"), "policy.yaml:9: tag tag:yaml.org,2002:set is not accepted; remove it"],
  ["a prototype key", route("__proto__: 1"), "policy.yaml:9: __proto__ is not accepted as a key"],
  [
    "a rate without unit",
    route("limits:", "  - { name: plan, per: [credential], requests: 300 }"),
    "policy.yaml:10 routes.p.limits[0].requests: 300 has no unit; write 300/min",
  ],
  [
    "a quoted rate without unit",
    route("limits:", '  - { name: plan, per: [credential], requests: "300" }'),
    "policy.yaml:10 routes.p.limits[0].requests: 300 has no unit; write 300/min",
  ],
  [
    "a duration without unit",
    route("timeouts: { idle: 300 }"),
    "policy.yaml:9 routes.p.timeouts.idle: 300 has no unit; write 300s or 300ms",
  ],
  [
    "a timeout of nothing",
    route("timeouts: { idle: 0s }"),
    "policy.yaml:9 routes.p.timeouts.idle: 0s is too short; write 1ms at least",
  ],
  [
    "a word that is a boolean elsewhere",
    route("keepAlive: yes"),
    "policy.yaml:9 routes.p.keepAlive: must be true or false",
  ],
  [
    "a sexagesimal number",
    route("timeouts: { idle: 1:20 }"),
    'policy.yaml:9 routes.p.timeouts.idle: "1:20" is not a duration; write a whole number with ms, s, m, h or d, such as 500ms or 2s',
  ],
  [
    "a wildcard host",
    route("hosts: ['*.p.test']"),
    'policy.yaml:9 routes.p.hosts[0]: "*.p.test": the host has a wildcard; name exact hosts',
  ],
  [
    "an address as host",
    route("hosts: [127.0.0.1]"),
    'policy.yaml:9 routes.p.hosts[0]: "127.0.0.1" is an address; providers are reached by name',
  ],
  [
    "an empty list",
    route("allow: []"),
    "policy.yaml:9 routes.p.allow: is empty; write rules, such as { methods: [GET], paths: [/stable/**] }, or leave the key out where it is optional",
  ],
  [
    "a rule that allows everything by saying nothing",
    route("allow: [{}]"),
    "policy.yaml:9 routes.p.allow[0]: says neither methods nor paths; to allow everything leave allow out",
  ],
  [
    "a lower-case method",
    route("allow: [{ methods: [get] }]"),
    'policy.yaml:9 routes.p.allow[0].methods[0]: "get" is not a method; write GET',
  ],
  [
    "TRACE",
    route("allow: [{ methods: [TRACE] }]"),
    "policy.yaml:9 routes.p.allow[0].methods[0]: TRACE is never forwarded; remove it",
  ],
  [
    "a relative path",
    route("allow: [{ paths: [v1/x] }]"),
    'policy.yaml:9 routes.p.allow[0].paths[0]: path pattern "v1/x" must begin with /; for every path write /**',
  ],
  ["an unknown word", route("upstream: ftp"), 'policy.yaml:9 routes.p.upstream: "ftp" is not one of https, http'],
  [
    "a range with host bits",
    route("private: [10.1.0.0/8]"),
    'policy.yaml:9 routes.p.private[0]: "10.1.0.0/8" has bits after the prefix; write 10.0.0.0/8',
  ],
  [
    "the same thing twice",
    route("hosts: [api.p.test, api.p.test]"),
    "policy.yaml:9 routes.p.hosts[1]: is listed twice; remove one",
  ],
  [
    "two kinds of limit in one",
    route("limits:", "  - { name: plan, per: [client], requests: 1/s, concurrent: 2 }"),
    "policy.yaml:10 routes.p.limits[0]: needs exactly one of requests, concurrent, tokens and usd; write requests: 300/min, concurrent: 20, tokens: 200000/min or usd: 25/day",
  ],
  [
    "a burst beyond the rate",
    route("limits:", "  - { name: plan, per: [client], requests: 5/s, burst: 6 }"),
    "policy.yaml:10 routes.p.limits[0].burst: 6 is more than 5/s allows in its period; write a smaller burst",
  ],
  [
    "a bad rate with a burst beside it",
    route("limits:", "  - { name: plan, per: [client], requests: 5/m, burst: 6 }"),
    'policy.yaml:10 routes.p.limits[0].requests: "5/m" is not a rate; write 5/min',
  ],
  [
    "two limits of one name",
    route("limits:", "  - { name: a, per: [client], concurrent: 1 }", "  - { name: a, per: [route], concurrent: 1 }"),
    'policy.yaml:11 routes.p.limits[1].name: "a" is used twice; rename one',
  ],
  [
    "a limit per nothing we count by",
    route("limits:", "  - { name: a, per: [ip], concurrent: 1 }"),
    'policy.yaml:10 routes.p.limits[0].per[0]: "ip" is not one of client, credential, provider, route, user',
  ],
  [
    "keys of another kind of limit",
    route("limits:", "  - { name: t, per: [client], tokens: 2000/min, burst: 5, zone: UTC, unpriced: deny }"),
    "policy.yaml:10 routes.p.limits[0].burst: only goes with requests; remove it",
    "policy.yaml:10 routes.p.limits[0].zone: only goes with calendar periods; write per day, week or month, or remove it",
    "policy.yaml:10 routes.p.limits[0].unpriced: only goes with usd; remove it",
  ],
  [
    "amounts that are none",
    route("limits:", "  - { name: t, per: [client], tokens: 0.5/min }", "  - { name: u, per: [route], usd: 25 }"),
    'policy.yaml:10 routes.p.limits[0].tokens: "0.5/min": tokens are whole; write 0/...',
    "policy.yaml:11 routes.p.limits[1].usd: 25 is a number; write dollars per time, such as 25/day, 500/month or 0.50/h, in quotes if need be",
  ],
  [
    "a retry for no known reason",
    route("retry: { attempts: 6, on: [timeout], within: 3m }"),
    "policy.yaml:9 routes.p.retry.attempts: must be a whole number from 1 to 5",
    'policy.yaml:9 routes.p.retry.on[0]: "timeout" is not one of connect, refused, limited, unavailable',
    "policy.yaml:9 routes.p.retry.within: 3m is too long; write 2m at most",
  ],
  [
    "a client by JWT",
    "version: 1\nclients:\n  app:\n    token: true\n    jwt: { issuer: x }\nroutes: {}\n",
    "policy.yaml:5 clients.app.jwt: not available in this version; use token: true",
  ],
  [
    "a client that nothing identifies",
    "version: 1\nclients:\n  app: {}\nroutes: {}\n",
    "policy.yaml:3 clients.app: cannot be told from anybody else; write token: true",
  ],
  [
    "a client name with a dot in front",
    "version: 1\nclients:\n  .app: { token: true }\nroutes: {}\n",
    'policy.yaml:3 clients..app: ".app" is not a name; write lower-case letters, digits, . _ and -, such as fmp-main',
  ],
  [
    "another version",
    "version: 2\nclients: {}\nroutes: {}\n",
    "policy.yaml:1 version: must be 1, the only version there is",
  ],
  ["no map at all", "- a\n", "policy.yaml:1: must be a map: version, clients and routes"],
  [
    "an empty file",
    "",
    "policy.yaml:1 version: must be 1, the only version there is",
    "policy.yaml:1 clients: must be a map of clients, such as { app: { token: true } }",
    "policy.yaml:1 routes: must be a map of routes, such as { fmp: { provider: fmp, ... } }",
  ],
  [
    "weights without choose: weighted",
    route().replace("credentials: [p-main]", "credentials: { use: [{ name: p-main, weight: 2 }] }"),
    "policy.yaml:7 routes.p.credentials.use[0]: weights only go with choose: weighted; write the name alone",
  ],
  [
    "credentials in neither form",
    route().replace("credentials: [p-main]", "credentials: p-main"),
    "policy.yaml:7 routes.p.credentials: must be a list of names, or { use: [openai-main], choose: failover }",
  ],
];

test("a bad policy is refused with file, line, path and what to write instead", async (t) => {
  for (const [sentence, yaml, ...expected] of PROBLEMS) {
    await t.test(sentence, () => assert.deepEqual(problemsOf(yaml), expected));
  }
});

test("all problems of a file are reported together, in the order of lines", () => {
  const yaml = route("foo: 1", "timeouts: { idle: 5 }", "allow: [{ methods: [get] }]", "limits: [{ name: X }]");
  const lines = problemsOf(yaml).map((line) => line.split(" ", 1)[0]);
  assert.deepEqual([...new Set(lines)], ["policy.yaml:9", "policy.yaml:10", "policy.yaml:11", "policy.yaml:12"]);
});

test("a problem carries its line, column and path as data", () => {
  try {
    parsePolicy(route("timeouts: { idle: 5 }"), "policy.yaml");
    assert.fail("accepted");
  } catch (error) {
    assert.ok(error instanceof PolicyError);
    assert.deepEqual(error.problems, [
      { line: 9, column: 17, path: "routes.p.timeouts.idle", message: "5 has no unit; write 5s or 5ms" },
    ]);
  }
});

/** Files that mean far more than they say, or that cost more than they weigh. */
const BOMBS: Readonly<Record<string, string>> = {
  "billion laughs": `a: &a [x]\n${Array.from({ length: 30 }, (_, i) => `b${i}: &b${i} [*a, *a, *a]`).join("\n")}`,
  "merge chain": `a: &a {k: 1}\n${Array.from({ length: 2000 }, (_, i) => `b${i}: {<<: [*a, *a]}`).join("\n")}`,
  "deep list": "[".repeat(20_000),
  "deep map": "{a: ".repeat(20_000),
  "deep indentation": Array.from({ length: 1000 }, (_, i) => `${" ".repeat(i)}k:`).join("\n"),
  "too large": "#".repeat(1024 * 1024 + 1),
  "many unknown keys": Array.from({ length: 10_000 }, (_, i) => `k${i}: 1`).join("\n"),
  "many bad routes": `version: 1\nclients: {}\nroutes:\n${Array.from({ length: 5000 }, (_, i) => `  r${i}: { x: 1 }`).join("\n")}`,
};

test("a YAML bomb is refused, and quickly", async (t) => {
  for (const [name, yaml] of Object.entries(BOMBS)) {
    await t.test(name, () => {
      const started = performance.now();
      const problems = problemsOf(yaml);
      assert.ok(problems.length >= 1 && problems.length <= 60, `${problems.length} problems`);
      assert.ok(performance.now() - started < 3000, "took 3 s or more");
    });
  }
});

test("names that every object inherits are ordinary names", () => {
  const yaml =
    "version: 1\nclients:\n  constructor: { token: true }\nroutes:\n  valueof: { provider: p, credentials: [p-main], clients: [constructor] }\n";
  assert.deepEqual(problemsOf(yaml), []);
});
