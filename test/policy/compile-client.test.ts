import assert from "node:assert/strict";
import test from "node:test";
import { compiled, problemsOf } from "./policy-fixture.ts";

test("what does not exist yet is a warning that says how to make it", () => {
  const { warnings } = compiled(
    "version: 1\nclients:\n  app: { token: true }\n  fresh: { token: true }\n  idle: { token: true }\n  nobody: { token: true }\nroutes:\n  a: { provider: p, credentials: { owner: user }, clients: [app, fresh] }\n",
  );
  assert.deepEqual(warnings, [
    "policy.yaml:4 clients.fresh: has no token yet; make one with: sidekey client add fresh",
    "policy.yaml:5 clients.idle: has no token yet; make one with: sidekey client add idle",
    "policy.yaml:5 clients.idle: is on no route and may use nothing; name it in the clients of a route",
    "policy.yaml:6 clients.nobody: has no token yet; make one with: sidekey client add nobody",
    "policy.yaml:6 clients.nobody: is on no route and may use nothing; name it in the clients of a route",
    "policy.yaml:8 routes.a.credentials: client app acts for no user, so it finds no key here; add actsFor: users to it, or else:",
    "policy.yaml:8 routes.a.credentials: client fresh acts for no user, so it finds no key here; add actsFor: users to it, or else:",
  ]);
});

test("an address that would be two clients is refused", () => {
  const yaml = "version: 1\nclients:\n  a: { trust: loopback }\n  b: { trust: [10.0.0.0/8, 127.0.0.1] }\nroutes: {}\n";
  assert.deepEqual(problemsOf(yaml), [
    "policy.yaml:4 clients.b.trust: 127.0.0.1/32 is also trusted as client a; an address can be one client only",
  ]);
});

test("trust and from compile to ranges", () => {
  const { snapshot } = compiled(
    "version: 1\nclients:\n  a: { trust: loopback, from: [127.0.0.0/8] }\n  b: { trust: 10.0.0.0/8 }\n  c: { token: true }\nroutes: {}\n",
  );
  const shown = [...snapshot.clients.values()].map(({ name, token, from, trust }) => {
    return [name, token, from.map(({ text }) => text), trust.map(({ text }) => text)];
  });
  assert.deepEqual(shown, [
    ["a", false, ["127.0.0.0/8"], ["127.0.0.0/8", "::1/128"]],
    ["b", false, [], ["10.0.0.0/8"]],
    ["c", true, [], []],
  ]);
});
