import assert from "node:assert/strict";
import { isIP, isIPv6 } from "node:net";
import test from "node:test";
import fc from "fast-check";
import { cidrContains, cidrCovers, cidrsOverlap, classifyAddress, parseCidr } from "../../src/policy/address.ts";

fc.configureGlobal({ seed: 20260901 });

const CLASSES: readonly [ip: string, expected: string][] = [
  ["8.8.8.8", "public"],
  ["93.184.216.34", "public"],
  ["2606:4700::1111", "public"],
  ["2a00:1450:4001:81b::200e", "public"],
  ["10.0.0.1", "private"],
  ["172.16.0.1", "private"],
  ["172.31.255.255", "private"],
  ["172.32.0.0", "public"],
  ["192.168.1.1", "private"],
  ["127.0.0.1", "loopback"],
  ["127.255.255.255", "loopback"],
  ["::1", "loopback"],
  ["0.0.0.0", "unspecified"],
  ["0.1.2.3", "reserved"],
  ["::", "unspecified"],
  ["169.254.1.1", "link-local"],
  ["fe80::1", "link-local"],
  ["fe80::1%lo", "link-local"],
  ["febf::1", "link-local"],
  ["fec0::1", "reserved"],
  ["169.254.169.254", "metadata"],
  ["169.254.170.2", "metadata"],
  ["100.100.100.200", "metadata"],
  ["168.63.129.16", "metadata"],
  ["fd00:ec2::254", "metadata"],
  ["100.64.0.1", "cgn"],
  ["100.127.255.255", "cgn"],
  ["100.128.0.0", "public"],
  ["fc00::1", "ula"],
  ["fdff::1", "ula"],
  ["224.0.0.1", "multicast"],
  ["ff02::1", "multicast"],
  ["240.0.0.1", "reserved"],
  ["255.255.255.255", "reserved"],
  ["192.0.0.8", "reserved"],
  ["198.18.0.1", "reserved"],
  ["198.19.255.255", "reserved"],
  ["192.0.2.1", "documentation"],
  ["198.51.100.1", "documentation"],
  ["203.0.113.1", "documentation"],
  ["2001:db8::1", "documentation"],
  ["3fff::1", "documentation"],
  ["192.88.99.1", "6to4"],
  ["100::1", "reserved"],
  ["5f00::1", "reserved"],
  ["2001:2::1", "reserved"],
  ["2001:20::1", "reserved"],
  ["4000::1", "reserved"],
  // Wrappers around a public address are themselves; around anything else they are what is inside.
  ["::ffff:8.8.8.8", "mapped"],
  ["::ffff:127.0.0.1", "loopback"],
  ["::ffff:7f00:1", "loopback"],
  ["::ffff:10.0.0.1", "private"],
  ["::ffff:169.254.169.254", "metadata"],
  ["::ffff:0:127.0.0.1", "loopback"],
  ["::127.0.0.1", "loopback"],
  ["::8.8.8.8", "reserved"],
  ["64:ff9b::8.8.8.8", "nat64"],
  ["64:ff9b::7f00:1", "loopback"],
  ["64:ff9b::a9fe:a9fe", "metadata"],
  ["64:ff9b:1::1", "nat64"],
  ["2002:808:808::", "6to4"],
  ["2002:7f00:1::", "loopback"],
  ["2002:a00:1::1", "private"],
  // Teredo keeps the client's address inverted: f7f7:f7f7 is 8.8.8.8, 80ff:fffe is 127.0.0.1.
  ["2001:0:4136:e378:8000:63bf:f7f7:f7f7", "teredo"],
  ["2001:0:4136:e378:8000:63bf:80ff:fffe", "loopback"],
];

test("each special-purpose range has its class, embedded IPv4 included", () => {
  for (const [ip, expected] of CLASSES) assert.equal(classifyAddress(ip), expected, ip);
});

test("what is not a plain address is invalid, however a resolver would read it", () => {
  const spellings = [
    "0x7f000001",
    "0177.0.0.1",
    "2130706433",
    "127.1",
    "127.0.0.1.",
    "localhost.",
    "0",
    "0xa9fea9fe",
    "",
    "1.2.3",
  ];
  const more = [
    "１２７.０.０.１",
    "127。0。0。1",
    "[::1]",
    "::1::",
    ":::",
    "1:2:3:4:5:6:7:8:9",
    "::12345",
    "::1.2.3",
    "1::%",
    " ::1",
    "::1 ",
    "1.2.3.4/8",
  ];
  for (const ip of [...spellings, ...more]) assert.equal(classifyAddress(ip), "invalid", JSON.stringify(ip));
});

test("the parser accepts exactly what the platform's does", () => {
  const nearly = fc.stringMatching(/^[0-9a-f:.]{1,24}$/);
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), nearly), (ip) => {
      assert.equal(classifyAddress(ip) !== "invalid", isIP(ip) !== 0, ip);
    }),
    { numRuns: 2000 },
  );
});

test("no IPv6 clothing makes a non-public IPv4 address public", () => {
  const wrappers = [
    (v4: string, _hex: string) => `::ffff:${v4}`,
    (v4: string) => `::${v4}`,
    (v4: string) => `64:ff9b::${v4}`,
    (v4: string) => `::ffff:0:${v4}`,
    (_v4: string, hex: string) => `2002:${hex}::1`,
  ];
  fc.assert(
    fc.property(
      fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)),
      fc.constantFrom(...wrappers),
      (bytes, wrap) => {
        const [a, b, c, d] = bytes;
        const address = wrap(bytes.join("."), `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`);
        assert.equal(isIPv6(address), true);
        assert.notEqual(classifyAddress(address), "public", address);
      },
    ),
  );
});

test("a range contains its addresses and no others, mapped IPv4 counting as IPv4", () => {
  const ten = parseCidr("10.20.0.0/16");
  for (const ip of ["10.20.0.0", "10.20.255.255", "::ffff:10.20.1.2"]) assert.equal(cidrContains(ten, ip), true, ip);
  for (const ip of ["10.21.0.0", "10.19.255.255", "::ffff:10.21.0.1", "64:ff9b::10.20.0.1", "::1", "10.20.1", ""]) {
    assert.equal(cidrContains(ten, ip), false, ip);
  }
  assert.equal(cidrContains(parseCidr("fe80::/10"), "fe80::1%eth0"), true);
  assert.equal(cidrContains(parseCidr("0.0.0.0/0"), "::1"), false);
  assert.equal(cidrContains(parseCidr("::/0"), "2001:db8::1"), true);
  assert.equal(cidrContains(parseCidr("192.0.2.128/25"), "192.0.2.127"), false);
});

test("a range is written canonically or refused with what to write", () => {
  assert.equal(parseCidr("10.20.0.7").text, "10.20.0.7/32");
  assert.equal(parseCidr("FD00:0::/8").text, "fd00::/8");
  for (const [text, why] of [
    ["10.20.1.0/16", /write 10\.20\.0\.0\/16/],
    ["::ffff:10.0.0.0/104", /IPv6 clothing/],
    ["10.0.0.0/33", /0 to 32/],
    ["10.0.0.0/08", /0 to 32/],
    ["10.0.0.0/", /0 to 32/],
    ["::/129", /0 to 128/],
    ["10.0.0/8", /not an address range/],
    ["fe80::1%lo/64", /not an address range/],
    ["loopback", /not an address range/],
  ] as const) {
    assert.throws(() => parseCidr(text), why, text);
  }
});

test("covering and overlapping ranges", () => {
  const [ten, part, other, six] = ["10.0.0.0/8", "10.20.0.0/16", "11.0.0.0/8", "::/0"].map(parseCidr);
  assert.ok(ten && part && other && six);
  assert.equal(cidrCovers(ten, part), true);
  assert.equal(cidrCovers(part, ten), false);
  assert.equal(cidrsOverlap(part, ten), true);
  assert.equal(cidrsOverlap(ten, other), false);
  assert.equal(cidrsOverlap(ten, six), false);
});
