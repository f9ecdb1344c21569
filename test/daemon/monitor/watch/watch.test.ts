import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { createWatch, type Ready, type Watch } from "../../../../src/daemon/monitor/watch/watch.ts";
import type { Outcome } from "../../../../src/daemon/pipeline/exchange.ts";
import type { Finding } from "../../../../src/daemon/pipeline/tripwire.ts";
import type { LimitSpec } from "../../../../src/policy/compile.ts";
import type { TrafficMeaning } from "../../../../src/providers/classify-traffic.ts";
import type { Credential } from "../../../../src/store/credentials.ts";
import { HONEYTOKEN_METADATA } from "../../../../src/store/honeytoken.ts";
import { compiled, withRoutes } from "../../../policy/policy-fixture.ts";
import { type AlertScene, alertScene } from "../alert-scene.ts";
import { storedCredential } from "../stored-credential.ts";
import { outcomeOf } from "./outcome.ts";

const POLICY = compiled(
  withRoutes(
    `  pool: { provider: p, hosts: [api.p.test], credentials: [p-main, p-spare], clients: [app] }
  one: { provider: fmp, credentials: [fmp-main], clients: [app] }
  users: { provider: openai, credentials: { owner: user, else: bait }, clients: [app] }
`,
  ),
).snapshot;

interface State {
  sealed: boolean;
  anySealed: boolean;
  broken: readonly string[];
  readonly credentials: Map<string, Credential>;
  readonly owned: Map<string, Credential>;
}

function scene(t: TestContext, alerts: AlertScene | null = null, ready: Ready = () => true) {
  const state: State = { sealed: false, anySealed: false, broken: [], credentials: new Map(), owned: new Map() };
  for (const name of ["p-main", "p-spare", "fmp-main"]) {
    state.credentials.set(name, storedCredential({ name, hosts: ["api.p.test", "financialmodelingprep.com"] }));
  }
  state.credentials.set("bait", storedCredential({ name: "bait", state: "disabled", metadata: HONEYTOKEN_METADATA }));
  let watch: Watch | null = null;
  const home = alerts ?? alertScene(t, () => watch?.look());
  watch = createWatch({
    alerts: home.book,
    view: {
      byName: (name) => state.credentials.get(name),
      ownedBy: (provider, user) => state.owned.get(`${provider} ${user}`),
      get anySealed() {
        return state.anySealed;
      },
    },
    vaultSealed: () => state.sealed,
    policy: () => POLICY,
    ready,
    usedPercent: () => null,
    broken: () => state.broken,
    now: home.nowMs,
  });
  const made = watch;
  const ended = (changes: Partial<Outcome>): void => made.outcome(outcomeOf({ atMs: home.nowMs(), ...changes }));
  return { ...home, state, watch: made, ended };
}

const open = ({ book }: AlertScene): string[] => book.open().map(({ kind, object }) => `${kind} ${object}`);

test("a pool whose members are disabled, expired, out of use or bound elsewhere runs dry", (t) => {
  const one = scene(t);
  one.pass(30_000);
  assert.deepEqual(open(one), []);
  one.state.credentials.set("p-spare", storedCredential({ name: "p-spare", hosts: ["other.p.test"] }));
  one.pass(30_000);
  assert.deepEqual(open(one), ["pool_down_to_one route:pool"]);
  one.state.credentials.set("p-main", storedCredential({ name: "p-main", hosts: ["api.p.test"], expiresAt: 1 }));
  one.pass(30_000);
  assert.deepEqual(open(one), ["pool_empty route:pool"]);
  one.state.credentials.set("p-main", storedCredential({ name: "p-main", hosts: ["api.p.test"] }));
  one.state.credentials.set("p-spare", storedCredential({ name: "p-spare", hosts: ["api.p.test"] }));
  one.pass(30_000);
  assert.deepEqual(open(one), []);
  one.watch.connect({
    ready: ({ name }, version, authority) => !`${name} ${version} ${authority}`.startsWith("p-main 1 api.p.test:443"),
  });
  one.pass(30_000);
  assert.deepEqual(open(one), ["pool_down_to_one route:pool"]);
});

test("while the vault or a category is sealed nobody says that pools are empty", (t) => {
  const one = scene(t);
  one.state.credentials.clear();
  one.state.anySealed = true;
  one.pass(60_000);
  one.state.anySealed = false;
  one.state.sealed = true;
  one.pass(60_000);
  assert.deepEqual(open(one), []);
});

test("outcomes reach the one that watches for them", (t) => {
  const one = scene(t);
  for (let n = 0; n < 10; n++) one.ended({ status: 503, host: "api.p.test" });
  one.ended({
    outcome: "no_route",
    reason: "host_not_in_policy",
    status: 403,
    attempts: 0,
    route: null,
    provider: null,
    host: "typo.test",
  });
  one.ended({
    outcome: "no_route",
    reason: "host_not_in_policy",
    status: 403,
    attempts: 0,
    route: null,
    provider: null,
    host: "x.test",
    client: null,
  });
  one.ended({
    outcome: "no_route",
    reason: "port_not_in_policy",
    status: 403,
    attempts: 0,
    route: null,
    provider: null,
    host: "api.p.test",
    client: "batch",
  });
  one.ended({ meaning: "quota", status: 402, credential: "p-main" });
  one.watch.attempt({
    provider: "p",
    host: "api.p.test",
    credential: "p-spare",
    result: "quota",
    cause: "",
    atMs: one.nowMs(),
  });
  one.pass(1_000);
  assert.deepEqual(open(one).sort(), [
    "provider_failing provider:p/api.p.test",
    "provider_quota credential:p-main",
    "provider_quota credential:p-spare",
    "unknown_host client:app",
  ]);
});

test("a request that only a honeytoken could have served is told; one that something else could is not", (t) => {
  const one = scene(t);
  const refused = {
    outcome: "no_usable_credential",
    status: 503,
    attempts: 0,
    credential: null,
    version: null,
  } as const;
  one.ended({ ...refused, route: "one", provider: "fmp" });
  one.ended({ ...refused, route: "gone" });
  one.ended({ ...refused, route: null });
  assert.deepEqual(open(one), []);
  one.state.owned.set("openai u1", storedCredential({ name: "u1-key", state: "disabled" }));
  one.ended({ ...refused, route: "users", user: "u1" });
  assert.deepEqual(open(one), [], "the user's own key is disabled, which is nobody's bait");
  one.state.owned.set("openai u1", storedCredential({ name: "u1-bait", metadata: HONEYTOKEN_METADATA }));
  one.ended({ ...refused, route: "users", user: "u1" });
  one.ended({ ...refused, route: "users", user: "u2" });
  assert.deepEqual(open(one), ["honeytoken_used credential:bait/app", "honeytoken_used credential:u1-bait/app"]);
});

test("after a restart nothing that is open is told again", (t) => {
  const first = scene(t);
  for (let n = 0; n < 10; n++) first.ended({ status: 503 });
  first.ended({ meaning: "quota", credential: "p-main" });
  first.state.credentials.delete("p-spare");
  first.pass(30_000);
  const before = open(first).sort();
  assert.equal(before.length, 3);
  const again = scene(t, first.restart());
  again.state.credentials.delete("p-spare");
  for (let n = 0; n < 10; n++) again.ended({ status: 503 });
  again.ended({ meaning: "quota", credential: "p-main" });
  for (let n = 0; n < 30; n++) {
    again.pass(1_000);
    again.watch.look();
  }
  assert.deepEqual(open(again).sort(), before);
  assert.deepEqual(again.changes, []);
});

const MEANINGS: readonly (TrafficMeaning | null)[] = [
  "ok",
  "invalid",
  "quota",
  "limited",
  "unavailable",
  "unknown",
  null,
];
const SPEC: LimitSpec = {
  ...{ name: "spend", kind: "usd", per: ["client"], count: 1e9, periodMs: 1, burst: 1e9, waitMs: 0, mode: "enforce" },
  budget: { calendar: null, strict: false, unpriced: "deny", warn: [50, 80, 95] },
};
const FINDING: Finding = {
  kind: "foreign_key_seen",
  client: "app",
  where: "p",
  provider: "p",
  place: "header x",
  value: null,
};

/** Names that grow without bound, as if everything a client can choose were chosen anew. */
const word = fc.nat({ max: 5_000 }).map((n) => `n${n}`);
const event = fc.oneof(
  fc.record({
    outcome: fc.constantFrom("ok", "no_route", "no_usable_credential", "upstream_connect", "client_closed", "nonsense"),
    reason: fc.constantFrom(null, "host_not_in_policy", "provider_limit"),
    status: fc.constantFrom(0, 200, 401, 429, 500, 503),
    meaning: fc.constantFrom(...MEANINGS),
    host: word,
    client: fc.option(word),
    provider: fc.option(word),
    credential: fc.option(word),
    route: fc.option(fc.oneof(word, fc.constantFrom("pool", "users"))),
    attempts: fc.nat({ max: 2 }),
  }),
  fc.record({ breaker: word, open: fc.boolean() }),
  fc.record({ budget: word, percent: fc.constantFrom(50, 80, 95, -1, 1e9), resetMs: fc.constantFrom(0, 1e3, 1e12) }),
  fc.record({ unpriced: word, model: fc.option(fc.string()) }),
  fc.record({ seenBy: fc.option(word) }),
  fc.record({ passMs: fc.constantFrom(1_000, 60_000, 3_600_000, -60_000) }),
);

test("in whatever order things happen, nothing is thrown and what is kept stays bounded (property)", (t) => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 200, size: "max" }), (events) => {
      const one = scene(t);
      for (const each of events) {
        if ("outcome" in each) one.ended(each);
        else if ("breaker" in each) one.state.broken = each.open ? [`${each.breaker}:443`] : [];
        else if ("budget" in each) {
          const { percent, resetMs } = each;
          one.watch.budget({
            spec: SPEC,
            key: `usd\nspend\n${each.budget}\nclient\na`,
            percent,
            used: 1,
            limit: 1e9,
            resetMs,
          });
        } else if ("unpriced" in each)
          one.watch.unpriced({ route: each.unpriced, model: each.model, atMs: one.nowMs() });
        else if ("seenBy" in each) one.watch.found({ ...FINDING, client: each.seenBy }, one.nowMs());
        else one.pass(Math.abs(each.passMs), Math.abs(each.passMs));
      }
      assert.ok(one.watch.size <= 5_000, `${one.watch.size}`);
      assert.ok(one.book.open().length <= 1_000);
      assert.ok(one.book.open().every(({ message }) => message.length <= 1_000));
      one.end();
    }),
    { numRuns: 40 },
  );
});

test("thousands of names leave a bounded memory", (t) => {
  const one = scene(t);
  for (let n = 0; n < 4_000; n++) {
    const name = `n${n}`;
    one.ended({ status: 503, host: name, provider: "p", credential: name, meaning: "quota" });
    one.ended({ outcome: "no_route", reason: "host_not_in_policy", attempts: 0, client: name, host: name });
    one.watch.budget({ spec: SPEC, key: `usd\nspend\n${name}`, percent: 50, used: 1, limit: 1e9, resetMs: 1e6 });
    one.watch.unpriced({ route: name, model: name, atMs: one.nowMs() });
  }
  assert.ok(one.watch.size <= 500 * 6, `${one.watch.size}`);
  assert.equal(one.book.open().length, 1_000);
  // Nobody has credentials of these names.
  one.pass(2_000);
  assert.ok(!open(one).some((each) => each.startsWith("provider_quota")));
});
