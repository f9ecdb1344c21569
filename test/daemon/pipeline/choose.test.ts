import assert from "node:assert/strict";
import { test } from "node:test";
import { boundTo, createChooser } from "../../../src/daemon/pipeline/choose.ts";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import type { Ramp } from "../../../src/daemon/pipeline/ramp.ts";
import type { Route } from "../../../src/policy/compile.ts";
import type { Credential } from "../../../src/store/credentials.ts";
import { compiled, withRoutes } from "../../policy/policy-fixture.ts";
import { AUTHORITY, credential, NOBODY, routeWith } from "./pool-fixture.ts";

const NOW = 1_000_000;

function chooserOf(...credentials: Credential[]) {
  return rampingChooser(new Map(), credentials);
}

/** `refused`: `id version` of what the providers have refused. */
function rampingChooser(ramps: Map<string, Ramp>, credentials: Credential[], refused = new Set<string>()) {
  return createChooser(
    {
      ramps,
      byName: (name) => credentials.find((one) => one.name === name),
      ownedBy: (provider, userId) =>
        credentials.find((one) => one.provider === provider && one.owner.kind === "user" && one.owner.id === userId),
      isOpen: (category) => category !== "sealed",
    },
    { ready: ({ credentialId, version }) => (refused.has(`${credentialId} ${version}`) ? "out" : "ready") },
  );
}

function chosen(
  chooser: ReturnType<typeof chooserOf>,
  route: Route,
  identity = NOBODY as { client: string; user: string | null },
) {
  const choice = chooser.choose(route, identity, AUTHORITY, NOW);
  return choice && `${choice.credential.name} v${choice.version}`;
}

test("failover uses the first credential that can be used, in its current version", () => {
  const route = routeWith("[p-main, p-spare]");
  const spare = credential("p-spare");
  assert.equal(chosen(chooserOf(credential("p-main"), spare), route), "p-main v2");
  const unusable: Partial<Credential>[] = [
    { state: "disabled" },
    { expiresAt: NOW },
    { hosts: ["data.p.test"] },
    { hosts: ["api.p.test:8443"] },
    { versions: [{ number: 1, stage: "previous", createdAt: 0, fingerprint: "0" }] },
  ];
  for (const changes of unusable) {
    assert.equal(chosen(chooserOf(credential("p-main", changes), spare), route), "p-spare v2", JSON.stringify(changes));
  }
  assert.equal(chosen(chooserOf(spare), route), "p-spare v2");
  assert.equal(chosen(chooserOf(credential("p-main", { expiresAt: NOW + 1 }), spare), route), "p-main v2");
});

test("while a version takes over each client is on one of the two, and moves once, as the share grows", () => {
  const route = routeWith("[p-main]");
  const ramps = new Map<string, Ramp>();
  const chooser = rampingChooser(ramps, [credential("p-main"), credential("p-spare")]);
  const clients = Array.from({ length: 400 }, (_, n) => ({
    client: `client-${n % 40}`,
    user: n < 40 ? null : `u${n}`,
  }));
  const moved = new Set<number>();
  for (const percent of [0, 5, 25, 50, 99, 100]) {
    ramps.set("id-p-main", { to: 3, percent });
    for (const [n, identity] of clients.entries()) {
      const version = chosen(chooser, route, identity);
      assert.equal(chosen(chooser, route, identity), version);
      if (moved.has(n)) assert.equal(version, "p-main v3", `client ${n} went back at ${percent} %`);
      if (version === "p-main v3") moved.add(n);
    }
    assert.ok(Math.abs((moved.size / clients.length) * 100 - percent) < 8, `${moved.size} of 400 at ${percent} %`);
  }
  ramps.set("id-p-main", { to: 3, percent: 100 });
  assert.equal(chosen(chooser, routeWith("[p-spare]")), "p-spare v2", "another credential's traffic stays");
});

test("a version that its provider has refused is passed over: a new one for the current, a current one for the next", () => {
  const refused = new Set(["id-p-main 3"]);
  const ramps = new Map([["id-p-main", { to: 3, percent: 100 }]]);
  const chooser = rampingChooser(ramps, [credential("p-main"), credential("p-spare")], refused);
  const route = routeWith("[p-main, p-spare]");
  assert.equal(chosen(chooser, route), "p-main v2");
  refused.add("id-p-main 2");
  assert.equal(chosen(chooser, route), "p-spare v2");
  refused.delete("id-p-main 3");
  assert.equal(chosen(chooser, route), "p-main v3");
  refused.add("id-p-main 3").add("id-p-spare 2");
  assert.throws(() => chosen(chooser, route), /accepted by its provider/);
});

test("when none can be used the answer names them and the next step", () => {
  const chooser = chooserOf(credential("p-main", { state: "disabled" }));
  assert.throws(
    () => chosen(chooser, routeWith("[p-main, p-spare]")),
    (error) =>
      error instanceof ProxyError &&
      error.code === "no_usable_credential" &&
      error.route === "p" &&
      /none of its credentials \(p-main, p-spare\).*sidekey credential add p/.test(error.publicMessage),
  );
});

test("round-robin takes turns and skips what cannot be used; weights are kept over a whole round", () => {
  const both = chooserOf(credential("p-main"), credential("p-spare"));
  const robin = routeWith("{ use: [p-main, p-spare], choose: round-robin }");
  const turns = Array.from({ length: 4 }, () => chosen(both, robin)?.split(" ")[0]);
  assert.deepEqual(turns, ["p-main", "p-spare", "p-main", "p-spare"]);
  const one = chooserOf(credential("p-main", { state: "disabled" }), credential("p-spare"));
  for (let turn = 0; turn < 3; turn++) assert.equal(chosen(one, robin), "p-spare v2");
  const weighted = routeWith("{ use: [{ name: p-main, weight: 3 }, { name: p-spare, weight: 1 }], choose: weighted }");
  const counted = Array.from({ length: 40 }, () => chosen(both, weighted)?.split(" ")[0]);
  assert.equal(counted.filter((name) => name === "p-main").length, 30);
});

test("a user's own credential is used for that user alone, and `else` only when there is none", () => {
  const route = routeWith("{ owner: user, else: p-main }");
  const own = credential("u7", { owner: { kind: "user", id: "user-7" } });
  const chooser = chooserOf(own, credential("p-main"));
  assert.equal(chosen(chooser, route, { client: "app", user: "user-7" }), "u7 v2");
  assert.equal(chosen(chooser, route, { client: "app", user: "user-8" }), "p-main v2");
  assert.equal(chosen(chooser, route), "p-main v2");
  const disabled = chooserOf({ ...own, state: "disabled" }, credential("p-main"));
  assert.throws(
    () => chosen(disabled, route, { client: "app", user: "user-7" }),
    (error) =>
      error instanceof ProxyError && /no credential of user user-7 exists, is enabled/.test(error.publicMessage),
    "another's key must not stand in for one that the user had taken away",
  );
});

test("a provider without a key needs no credential", () => {
  const route = compiled(
    withRoutes("  l: { provider: local, credentials: [], clients: [app], private: [127.0.0.0/8] }\n"),
  ).snapshot.routes[0];
  assert.ok(route);
  assert.equal(chooserOf().choose(route, NOBODY, "localhost:5000", NOW), null);
});

test("a stored host without a port is bound to 443", () => {
  const bound = credential("x", { hosts: ["api.p.test", "data.p.test:8443"] });
  const table = {
    "api.p.test:443": true,
    "api.p.test:8443": false,
    "data.p.test:8443": true,
    "data.p.test:443": false,
  };
  for (const [authority, expected] of Object.entries(table))
    assert.equal(boundTo(bound, authority), expected, authority);
});

test("a credential of a sealed category is passed over, and when nothing else is left the answer says so", () => {
  const sealed = credential("a", { category: "sealed" });
  const route = routeWith("[a, b]");
  assert.equal(chosen(chooserOf(sealed, credential("b")), route), "b v2");
  const refused = (error: unknown) =>
    error instanceof ProxyError && error.code === "vault_sealed" && /category sealed is sealed/.test(error.message);
  assert.throws(() => chosen(chooserOf(sealed, credential("b", { state: "disabled" })), route), refused);
});
