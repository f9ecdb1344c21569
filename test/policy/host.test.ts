import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { authorityKey, canonicalHost, parseAuthority } from "../../src/policy/host.ts";

fc.configureGlobal({ seed: 20260901 });

const CANONICAL: readonly [raw: string, host: string, kind: string][] = [
  ["api.p.test", "api.p.test", "name"],
  ["API.P.Test", "api.p.test", "name"],
  ["api.p.test.", "api.p.test", "name"],
  ["localhost.", "localhost", "name"],
  ["xn--bcher-kva.test", "xn--bcher-kva.test", "name"],
  ["XN--BCHER-KVA.test", "xn--bcher-kva.test", "name"],
  ["r3---sn-4g5e6.p.test", "r3---sn-4g5e6.p.test", "name"],
  ["1e100.net", "1e100.net", "name"],
  ["1.2.3.4a", "1.2.3.4a", "name"],
  ["127.0.0.1", "127.0.0.1", "ipv4"],
  ["[::1]", "::1", "ipv6"],
  ["[0:0:0:0:0:0:0:1]", "::1", "ipv6"],
  ["[::FFFF:127.0.0.1]", "::ffff:7f00:1", "ipv6"],
  ["[2001:DB8:0:0:1:0:0:1]", "2001:db8::1:0:0:1", "ipv6"],
];

test("every accepted spelling of a host becomes one canonical spelling", () => {
  for (const [raw, host, kind] of CANONICAL) assert.deepEqual(canonicalHost(raw), { ok: true, host, kind }, raw);
});

const REFUSED: readonly [raw: string, why: RegExp][] = [
  ["", /empty/],
  [".", /empty label/],
  ["api..p.test", /empty label/],
  [".p.test", /empty label/],
  ["api.p.test..", /empty label/],
  ["0x7f000001", /number/],
  ["0177.0.0.1", /number/],
  ["2130706433", /number/],
  ["127.1", /number/],
  ["127.0.0.1.", /number/],
  ["0", /number/],
  ["0x", /number/],
  ["0xa9fea9fe", /number/],
  ["1.2.3.256", /number/],
  ["1.2.3.4.5", /number/],
  ["api.p.test.0x7f", /number/],
  ["api.123", /number/],
  ["::1", /brackets/],
  ["::ffff:127.0.0.1", /brackets/],
  ["::ffff:7f00:1", /brackets/],
  ["64:ff9b::7f00:1", /brackets/],
  ["::127.0.0.1", /brackets/],
  ["2002:7f00:1::", /brackets/],
  ["fe80::1%lo", /brackets|"%"/],
  ["[fe80::1%lo]", /zone/],
  ["[fe80::1%25lo]", /zone/],
  ["[::1", /misplaced/],
  ["[[::1]]", /misplaced/],
  ["[example.com]", /not an IPv6/],
  ["[127.0.0.1]", /not an IPv6/],
  ["[]", /not an IPv6/],
  ["[::1]x", /misplaced/],
  ["::1]", /brackets|"\]"/],
  ["１２７.０.０.１", /non-ASCII/],
  ["127。0。0。1", /non-ASCII/],
  ["api．p．test", /non-ASCII/],
  ["bücher.test", /non-ASCII/],
  ["арі.p.test", /non-ASCII/],
  ["api.p.test\u200b", /non-ASCII/],
  ["user@api.p.test", /userinfo/],
  ["user:pw@api.p.test", /userinfo|brackets/],
  ["api.p.test/x", /"\/"/],
  ["api.p.test?x", /"\?"/],
  ["api.p.test#x", /"#"/],
  ["api.p.test\\x", /"\\"/],
  ["api%2ep.test", /"%"/],
  ["a,b", /","/],
  ["api p.test", /space or control/],
  ["api.p.test\0", /space or control/],
  ["api.p.test\n", /space or control/],
  ["_dmarc.p.test", /underscore/],
  ["*.p.test", /wildcard/],
  ["-api.p.test", /-/],
  ["api-.p.test", /-/],
  ["xn--.p.test", /-/],
  [`${"a".repeat(64)}.test`, /label of the host is longer/],
  [`${"a.".repeat(127)}`.slice(0, 253).concat("bb"), /longer than 253/],
];

test("every host that two programs could read differently is refused with its reason", () => {
  for (const [raw, why] of REFUSED) {
    const result = canonicalHost(raw);
    assert.equal(result.ok, false, JSON.stringify(raw));
    assert.match(result.ok ? "" : result.reason, why, JSON.stringify(raw));
  }
});

test("a canonical name is its own canonical form, and canonical forms have no upper case or trailing dot", () => {
  fc.assert(
    fc.property(fc.oneof(fc.domain(), fc.ipV4(), fc.stringMatching(/^[A-Za-z0-9.-]{1,40}$/)), (raw) => {
      const once = canonicalHost(raw);
      if (!once.ok) return;
      assert.deepEqual(canonicalHost(once.host), once);
      assert.equal(once.host, once.host.toLowerCase());
      assert.equal(once.host.endsWith("."), false);
    }),
  );
});

test("no input makes the host parser throw, and what it accepts has only host characters", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 60 }), (raw) => {
      const result = parseAuthority(raw, 443);
      if (result.ok) assert.match(result.host, /^[a-z0-9.:-]+$/);
    }),
  );
});

test("a port is written plainly or not at all", () => {
  assert.deepEqual(parseAuthority("api.p.test", 443), { ok: true, host: "api.p.test", port: 443, kind: "name" });
  assert.deepEqual(parseAuthority("api.p.test:8443", 443), { ok: true, host: "api.p.test", port: 8443, kind: "name" });
  assert.deepEqual(parseAuthority("api.p.test.:1", null), { ok: true, host: "api.p.test", port: 1, kind: "name" });
  assert.deepEqual(parseAuthority("[::1]:65535", null), { ok: true, host: "::1", port: 65535, kind: "ipv6" });
  assert.equal(parseAuthority("api.p.test", null).ok, false);
  for (const port of [
    "0",
    "65536",
    "00443",
    "0443",
    "",
    "+443",
    "-1",
    "443 ",
    " 443",
    "4e2",
    "0x1bb",
    "443:443",
    "99999",
    "４４３",
  ]) {
    assert.equal(parseAuthority(`api.p.test:${port}`, 443).ok, false, `:${port}`);
  }
});

test("an authority with anything besides host and port is refused", () => {
  for (const raw of [
    "user:pw@h.test:443",
    "@h.test",
    "h.test@",
    "h.test:443/x",
    "a.test,b.test",
    "[::1]443",
    "[::1]:",
    ":443",
    "a:b:443",
    "http://h.test",
  ]) {
    assert.equal(parseAuthority(raw, 443).ok, false, raw);
  }
});

test("an authority key keeps an IPv6 host apart from its port", () => {
  assert.equal(authorityKey("api.p.test", 443), "api.p.test:443");
  assert.equal(authorityKey("::1", 443), "[::1]:443");
});
