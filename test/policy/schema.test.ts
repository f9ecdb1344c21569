import assert from "node:assert/strict";
import test from "node:test";
import { policyFile } from "../../src/policy/schema.ts";

function accepts(route: Record<string, unknown>, client: Record<string, unknown> = { token: true }): boolean {
  const base = { provider: "p", credentials: ["p-main"], clients: ["app"] };
  return policyFile.safeParse({ version: 1, clients: { app: client }, routes: { p: { ...base, ...route } } }).success;
}

test("every form that a value may be written in is accepted", () => {
  for (const route of [
    {},
    { credentials: [] },
    { credentials: { use: ["a", "b"], choose: "round-robin" } },
    { credentials: { use: ["a", { name: "b", weight: 1000 }], choose: "weighted" } },
    { credentials: { owner: "user" } },
    { hosts: ["api.p.test", "API.p.test:8443", "data.p.test."] },
    { allow: [{ methods: ["GET"] }, { paths: ["/**"] }] },
    { limits: [{ name: "a", per: ["user", "client"], requests: "100/15s", burst: 100, wait: "0s", mode: "shadow" }] },
    { limits: [{ name: "a", per: ["route"], concurrent: 1, wait: "10m" }] },
    { limits: [{ name: "a", per: ["client"], tokens: "200000/min", strict: true, warn: [1, 100] }] },
    { limits: [{ name: "a", per: ["route"], usd: "0.50/day", zone: "America/New_York", unpriced: "allow" }] },
    { retry: {}, pace: "on", usage: { ask: "off" } },
    { retry: { attempts: 5, on: ["connect", "refused", "limited", "unavailable"], within: "2m" } },
    { response: { scrub: "off", tokens: "pass", rateLimit: "off" } },
    { private: ["10.0.0.0/8", "172.20.0.0/16", "192.168.1.7", "127.0.0.1", "fd00::/8", "::1", "169.254.0.0/16"] },
    {
      timeouts: { connect: "1ms", headers: "1d" },
      response: { setCookie: "pass", authenticate: "pass" },
      keepAlive: false,
    },
  ]) {
    assert.ok(accepts(route), JSON.stringify(route));
  }
  for (const client of [
    { trust: "loopback" },
    { trust: "10.0.0.1" },
    { trust: ["::1"] },
    { token: true, actsFor: "users" },
  ]) {
    assert.ok(accepts({}, client), JSON.stringify(client));
  }
});

test("values at and beyond their bounds are refused", () => {
  const limit = (more: object) => ({ limits: [{ name: "a", per: ["route"], requests: "5/s", ...more }] });
  for (const route of [
    limit({ burst: 0 }),
    limit({ burst: 1.5 }),
    limit({ wait: "601s" }),
    limit({ requests: "100001/d" }),
    limit({ per: [] }),
    limit({ name: "A" }),
    { limits: [{ name: "a", per: ["route"], concurrent: 100_001 }] },
    { limits: [{ name: "a", per: ["route"], usd: "1000001/day" }] },
    { limits: [{ name: "a", per: ["route"], usd: "0/day" }] },
    { limits: [{ name: "a", per: ["route"], tokens: "1/year" }] },
    { limits: [{ name: "a", per: ["route"], usd: "5/day", zone: "Mars/Olympus" }] },
    { limits: [{ name: "a", per: ["route"], usd: "5/24h", zone: "UTC" }] },
    { limits: [{ name: "a", per: ["route"], usd: "5/day", warn: [101] }] },
    { limits: [{ name: "a", per: ["route"], requests: "5/s", strict: true }] },
    { retry: { attempts: 0 } },
    { retry: { on: [] } },
    { pace: true },
    { credentials: { use: [{ name: "a", weight: 1001 }], choose: "weighted" } },
    { credentials: { use: ["a"], owner: "user" } },
    { credentials: { use: ["a"], else: "b" } },
    { credentials: { owner: "user", choose: "failover" } },
    { credentials: {} },
    { timeouts: { idle: "25h" } },
    { allow: [{ methods: ["CONNECT"] }] },
    { clients: [] },
    { clients: ["app", "app"] },
    { hosts: null },
    { private: ["0.0.0.0/0"] },
    { private: ["10.0.0.0/7"] },
    { private: ["172.0.0.0/8"] },
    { private: ["::/0"] },
    { private: ["8.8.8.8"] },
    { private: ["198.18.0.0/15"] },
  ]) {
    assert.equal(accepts(route), false, JSON.stringify(route));
  }
});

test("the text of a path pattern may be anything that a path may be", () => {
  assert.ok(accepts({ allow: [{ paths: ["/v1/models/*:generateContent", "/v1/a%20b", "/~x/$(y)"] }] }));
  assert.equal(accepts({ allow: [{ paths: ["/v1/[a-z]+"] }] }), false);
});
