import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Choice, type ChooseOptions, createChooser, triedKey } from "../../../src/daemon/pipeline/choose.ts";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import type { Readiness } from "../../../src/daemon/pipeline/pool-health.ts";
import type { Ramp } from "../../../src/daemon/pipeline/ramp.ts";
import type { Route } from "../../../src/policy/compile.ts";
import { compiled, withRoutes } from "../../policy/policy-fixture.ts";
import { AUTHORITY, credential, NOBODY, routeWith } from "./pool-fixture.ts";

const NOW = 1_000_000;

/** `standings`: by `name version`; what is not there is ready. */
function pool(
  standings: Readonly<Record<string, Readiness>>,
  names = ["a", "b", "c"],
  ramps = new Map<string, Ramp>(),
) {
  const credentials = names.map((name) => credential(name));
  const state = new Map(Object.entries(standings));
  const chooser = createChooser(
    {
      ramps,
      byName: (name) => credentials.find((one) => one.name === name),
      ownedBy: (_provider, userId) => credentials.find(({ name }) => name === userId),
      isOpen: () => true,
    },
    { ready: ({ credentialId, version }) => state.get(`${credentialId.replace("id-", "")} ${version}`) ?? "ready" },
  );
  return {
    state,
    chooser,
    choose: (route: Route, options: ChooseOptions = {}, identity: { client: string; user: string | null } = NOBODY) =>
      shown(chooser.choose(route, identity, AUTHORITY, NOW, options)),
    hasOther: (route: Route, ...tried: string[]) =>
      chooser.hasOther(route, NOBODY, AUTHORITY, NOW, new Set(tried.map((key) => key.replace(" ", "\n")))),
  };
}

function shown(choice: Choice | null): string {
  return choice === null ? "none" : `${choice.credential.name} ${choice.version}`;
}

const tried = (...keys: string[]): ChooseOptions => ({ tried: new Set(keys.map((key) => key.replace(" ", "\n"))) });
const heldFor = (ms: number) => ({ why: "provider_limit", untilMs: NOW + ms }) as const;
const ROUTE = routeWith("[a, b, c]");

test("failover passes over what is out, held or suspect, and comes back to the first as soon as it may be probed", () => {
  for (const standing of ["out", "suspect", heldFor(5_000), { why: "quota", untilMs: NOW + 9 } as const] as const) {
    assert.equal(pool({ "a 2": standing }).choose(ROUTE), "b 2", JSON.stringify(standing));
  }
  assert.equal(pool({ "a 2": "probe" }).choose(ROUTE), "a 2");
});

test("a suspect version is used for want of another, but not a refused one", () => {
  assert.equal(pool({ "a 2": "out", "b 2": "suspect", "c 2": "out" }).choose(ROUTE), "b 2");
  assert.equal(pool({ "a 2": "suspect", "b 2": heldFor(1), "c 2": "out" }).choose(ROUTE), "a 2");
});

test("another try takes another one, and leaves probing to others", () => {
  const { choose, hasOther } = pool({ "b 2": "probe" });
  assert.equal(choose(ROUTE, tried("a 2")), "c 2");
  assert.equal(choose(ROUTE, tried("a 2", "c 2")), "b 2");
  assert.equal(hasOther(ROUTE, "a 2", "c 2"), true);
  assert.equal(hasOther(ROUTE, "a 2", "b 2", "c 2"), false);
  assert.throws(() => choose(ROUTE, tried("a 2", "b 2", "c 2")), ProxyError);
  const alone = pool({ "b 2": "suspect", "c 2": "out" });
  assert.equal(alone.hasOther(ROUTE, "a 2"), false, "a suspect one is no reason to try again");
});

test("the other version of a rotating credential is another one too", () => {
  const ramps = new Map([["id-a", { to: 3, percent: 100 }]]);
  const { choose, state } = pool({}, ["a", "b"], ramps);
  const route = routeWith("[a, b]");
  assert.equal(choose(route), "a 3");
  assert.equal(choose(route, tried("a 3")), "a 2");
  assert.equal(choose(route, tried("a 3", "a 2")), "b 2");
  for (const standing of ["out", "suspect", heldFor(1_000)] as const) {
    state.set("a 3", standing);
    assert.equal(choose(route), "a 2", "clients of a new version that is not well stay on the current one");
  }
  state.set("a 2", "out");
  state.set("b 2", "out");
  assert.throws(() => choose(route), /held by its provider's limit/);
});

test("weights hold among those that are ready, for each route of its own", () => {
  const route = routeWith(
    "{ use: [{ name: a, weight: 5 }, { name: b, weight: 3 }, { name: c, weight: 2 }], choose: weighted }",
  );
  const { choose, state } = pool({});
  const count = (rounds: number) => {
    const taken = Array.from({ length: rounds }, () => choose(route));
    return ["a 2", "b 2", "c 2"].map((name) => taken.filter((one) => one === name).length);
  };
  assert.deepEqual(count(100), [50, 30, 20]);
  state.set("a 2", "out");
  assert.deepEqual(count(100), [0, 60, 40]);
  state.set("a 2", "ready");
  const [a = 0, b = 0, c = 0] = count(1_000);
  assert.ok(Math.abs(a - 500) <= 10 && Math.abs(b - 300) <= 10 && Math.abs(c - 200) <= 10, `${a} ${b} ${c}`);
  const robin = routeWith("{ use: [a, b, c], choose: round-robin }");
  assert.deepEqual(
    [1, 2, 3, 4].map(() => choose(robin)),
    ["a 2", "b 2", "c 2", "a 2"],
  );
});

test("looking whether there is another takes no turn", () => {
  const robin = routeWith("{ use: [a, b, c], choose: round-robin }");
  const { choose, hasOther } = pool({});
  assert.equal(choose(robin), "a 2");
  for (let n = 0; n < 5; n++) assert.equal(hasOther(robin, "a 2"), true);
  assert.equal(choose(robin), "b 2");
});

test("who waits anyway is given the version that its provider's limit frees first, in time", () => {
  const { choose } = pool({ "a 2": heldFor(900), "b 2": heldFor(300), "c 2": { why: "failing", untilMs: NOW + 1 } });
  assert.equal(choose(ROUTE, { patienceMs: 300 }), "b 2");
  const late = (error: unknown) =>
    error instanceof ProxyError && error.code === "upstream_unavailable" && error.fields.join() === "Retry-After,1";
  assert.throws(() => choose(ROUTE, { patienceMs: 299 }), late);
  assert.equal(pool({ "a 2": heldFor(300), "b 2": "suspect", "c 2": "out" }).choose(ROUTE, { patienceMs: 300 }), "a 2");
});

test("a user's own credential that was tried or is held is not replaced by another's", () => {
  const route = routeWith("{ owner: user, else: b }");
  const { choose, hasOther, chooser } = pool({});
  const user = { client: "app", user: "a" };
  assert.equal(choose(route, {}, user), "a 2");
  assert.throws(() => choose(route, tried("a 2"), user), /no credential of user a/);
  assert.equal(chooser.hasOther(route, user, AUTHORITY, NOW, new Set([`a\n2`])), false);
  assert.throws(() => pool({ "a 2": heldFor(5) }).choose(route, {}, user), /credential a is held/);
  assert.equal(hasOther(route), true, "without a user there is the one of `else`");
});

test("a route without a credential fails fast while its provider does", () => {
  const yaml = "  l: { provider: local, credentials: [], clients: [app], private: [127.0.0.0/8] }\n";
  const route = compiled(withRoutes(yaml)).snapshot.routes[0];
  assert.ok(route);
  assert.equal(pool({}).choose(route), "none");
  assert.equal(pool({ " 0": "probe" }).choose(route), "none");
  const failing = pool({ " 0": { why: "failing", untilMs: NOW + 2_000 } });
  assert.throws(() => failing.choose(route), /^ProxyError: upstream_unavailable: route l: it gets no answer/);
  assert.equal(failing.hasOther(route), false);
});

test("triedKey tells versions apart", () => {
  assert.notEqual(
    triedKey({ credential: credential("a"), version: 1 }),
    triedKey({ credential: credential("a"), version: 11 }),
  );
});

const STANDING = fc.constantFrom<Readiness>("ready", "probe", "suspect", "out", heldFor(10), {
  why: "quota",
  untilMs: NOW + 5,
});

test("whatever stands how, nothing that is out, held or tried is chosen, and a well one always is", () => {
  const kinds = [
    "[a, b, c]",
    "{ use: [a, b, c], choose: round-robin }",
    "{ use: [{ name: a, weight: 9 }, b, c], choose: weighted }",
  ];
  fc.assert(
    fc.property(
      fc.tuple(STANDING, STANDING, STANDING),
      fc.subarray(["a 2", "b 2", "c 2"]),
      fc.constantFrom(...kinds.map((kind) => routeWith(kind))),
      ([a, b, c], used, route) => {
        const standings: Readonly<Record<string, Readiness>> = { "a 2": a, "b 2": b, "c 2": c };
        const free = Object.keys(standings).filter((key) => !used.includes(key));
        const may = free.filter((key) => ["ready", "probe"].includes(standings[key] as string));
        const { choose, hasOther } = pool(standings);
        assert.equal(hasOther(route, ...used), may.length > 0);
        let taken: string | null = null;
        try {
          taken = choose(route, tried(...used));
        } catch (error) {
          assert.ok(error instanceof ProxyError);
        }
        if (may.length > 0) assert.ok(taken !== null && may.includes(taken));
        else if (taken !== null) assert.ok(free.includes(taken) && standings[taken] === "suspect");
      },
    ),
  );
});
