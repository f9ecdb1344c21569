import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { test } from "node:test";
import { isOwnListener } from "../../src/daemon/own-addresses.ts";

const LISTENERS = [
  { host: "127.0.0.1", port: 8787 },
  { host: "::1", port: 8788 },
  { host: "10.1.2.3", port: 9477 },
];

test("G13 separate-planes: every address that reaches a loopback listener is its own, on its port alone", () => {
  const own: readonly [string, number][] = [
    ["127.0.0.1", 8787],
    ["127.8.8.8", 8787],
    ["0.0.0.0", 8787],
    ["::", 8787],
    ["::ffff:127.0.0.1", 8787],
    ["::1", 8788],
    ["::", 8788],
    ["10.1.2.3", 9477],
  ];
  for (const [address, port] of own) assert.equal(isOwnListener(LISTENERS, address, port), true, `${address}:${port}`);
  const other: readonly [string, number][] = [
    ["127.0.0.1", 8789],
    ["127.0.0.1", 443],
    ["::1", 8787],
    ["10.1.2.4", 9477],
    ["127.0.0.1", 9477],
    ["203.0.113.5", 8787],
    ["2001:db8::1", 8788],
  ];
  for (const [address, port] of other)
    assert.equal(isOwnListener(LISTENERS, address, port), false, `${address}:${port}`);
});

test("a listener on all interfaces is reached by loopback and by every address of this machine", () => {
  const local = Object.values(networkInterfaces()).flatMap((entries) => entries?.map((entry) => entry.address) ?? []);
  for (const host of ["0.0.0.0", "::"]) {
    for (const address of ["127.0.0.1", "127.1.1.1", "::1", "0.0.0.0", ...local]) {
      assert.equal(isOwnListener([{ host, port: 8787 }], address, 8787), true, `${host} ${address}`);
    }
    assert.equal(isOwnListener([{ host, port: 8787 }], "203.0.113.5", 8787), false);
  }
  assert.equal(isOwnListener([], "127.0.0.1", 8787), false);
});
