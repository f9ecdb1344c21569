import assert from "node:assert/strict";
import { isIPv4, isIPv6 } from "node:net";
import test from "node:test";
import fc from "fast-check";
import { formatIp, hasPrefix, parseIp, parseIpv4, parseIpv6, unmapped } from "../../src/policy/ip.ts";

fc.configureGlobal({ seed: 20260901 });

test("every IPv6 text form reads as the same sixteen bytes", () => {
  const bytes = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0x02, 0x01];
  for (const text of [
    "2001:db8::c000:201",
    "2001:DB8:0:0:0:0:C000:0201",
    "2001:db8::192.0.2.1",
    "2001:0db8:0::0:192.0.2.1",
  ]) {
    assert.deepEqual([...(parseIpv6(text) ?? [])], bytes, text);
  }
});

test("addresses are written as RFC 5952 says", () => {
  for (const [text, canonical] of [
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["1::", "1::"],
    ["::ABCD", "::abcd"],
    ["192.0.2.1", "192.0.2.1"],
  ] as const) {
    assert.equal(formatIp(parseIp(text) ?? new Uint8Array(0)), canonical);
  }
});

test("writing and reading again changes nothing", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      (six, four) => {
        assert.deepEqual(parseIpv6(formatIp(six)), six);
        assert.deepEqual(parseIpv4(formatIp(four)), four);
        assert.ok(isIPv6(formatIp(six)) && isIPv4(formatIp(four)));
      },
    ),
  );
});

test("only a mapped address is unmapped", () => {
  const text = (ip: string) => formatIp(unmapped(parseIp(ip) ?? new Uint8Array(0)));
  assert.equal(text("::ffff:10.0.0.1"), "10.0.0.1");
  assert.equal(text("::10.0.0.1"), "::a00:1");
  assert.equal(text("::ffff:0:10.0.0.1"), "::ffff:0:a00:1");
  assert.equal(text("10.0.0.1"), "10.0.0.1");
});

test("a prefix is compared to the bit", () => {
  const [a, b] = [Uint8Array.of(0b1010_1010, 0b1111_0000, 0, 0), Uint8Array.of(0b1010_1010, 0b1111_1000, 0, 0)];
  assert.equal(hasPrefix(a, b, 12), true);
  assert.equal(hasPrefix(a, b, 13), false);
  assert.equal(hasPrefix(a, b, 0), true);
  assert.equal(hasPrefix(a, new Uint8Array(16), 0), false);
});
