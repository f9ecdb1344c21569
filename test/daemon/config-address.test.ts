import assert from "node:assert/strict";
import { test } from "node:test";
import {
  isLoopbackAddress,
  parseIpPort,
  parseLocalName,
  parseProxyUrl,
  parseUpstreamName,
} from "../../src/daemon/config-address.ts";

test("an address to listen on is an IP and a port", () => {
  assert.deepEqual(parseIpPort("127.0.0.1:8787"), { host: "127.0.0.1", port: 8787 });
  assert.deepEqual(parseIpPort("[::1]:1"), { host: "::1", port: 1 });
  assert.deepEqual(parseIpPort("localhost:8787"), { host: "127.0.0.1", port: 8787 });
  for (const text of [
    "127.0.0.1",
    "8787",
    ":8787",
    "127.0.0.1:0",
    "127.0.0.1:65536",
    "::1:8787",
    "127.1:80",
    "a.test:1",
  ]) {
    assert.throws(() => parseIpPort(text), /write (?:an IP )?address/, text);
  }
});

test("loopback is 127.0.0.0/8 and ::1", () => {
  assert.ok(isLoopbackAddress("127.9.9.9"));
  assert.ok(isLoopbackAddress("::1"));
  for (const ip of ["0.0.0.0", "::", "10.0.0.1", "192.0.2.1"]) assert.ok(!isLoopbackAddress(ip), ip);
});

test("an upstream name is canonical, with its port only when one is written", () => {
  assert.equal(parseUpstreamName("API.Example.test."), "api.example.test");
  assert.equal(parseUpstreamName("api.example.test:443"), "api.example.test:443");
  assert.throws(() => parseUpstreamName("https://api.example.test"), /write the provider's host name/);
  assert.throws(() => parseUpstreamName("user@api.example.test"), /userinfo/);
});

test("a local name is a host name", () => {
  assert.equal(parseLocalName("Sidekey"), "sidekey");
  assert.throws(() => parseLocalName("127.0.0.1"), /loopback addresses are always accepted/);
  assert.throws(() => parseLocalName("a b"), /write a host name/);
});

test("a proxy URL has a host, a port, at most a user, and never a password", () => {
  assert.deepEqual(parseProxyUrl("http://proxy.test:3128/"), { host: "proxy.test", port: 3128, user: null });
  assert.deepEqual(parseProxyUrl("http://a%40b@[::1]:3128"), { host: "::1", port: 3128, user: "a@b" });
  for (const text of [
    "http://u:canary@proxy.test:3128",
    "http://u%3Acanary@proxy.test:3128",
    "http://canary%zz@proxy.test:3128",
    "http://@proxy.test:3128",
    "http://canary@@proxy.test:3128",
    "socks5://canary@proxy.test:3128",
    "http://canary@proxy.test",
    "http://proxy.test:3128/canary",
  ]) {
    assert.throws(
      () => parseProxyUrl(text),
      (error: Error) => !error.message.includes("canary"),
      text,
    );
  }
});
