import assert from "node:assert/strict";
import { test } from "node:test";
import { hostPort, proxyAddress, proxyUrl } from "../../src/cli/service-address.ts";
import { loadConfig } from "../../src/daemon/config.ts";
import { tempDir } from "../support/temp-dir.ts";

test("a listener on every address is reached on loopback; IPv6 is in brackets", (t) => {
  const config = loadConfig({ env: {}, cwd: tempDir(t) });
  const at = (host: string): string =>
    proxyAddress({ ...config, listen: { ...config.listen, proxy: { host, port: 8787 } } });
  assert.deepEqual(["127.0.0.1", "0.0.0.0", "::", "10.0.0.5"].map(at), [
    "127.0.0.1:8787",
    "127.0.0.1:8787",
    "127.0.0.1:8787",
    "10.0.0.5:8787",
  ]);
  assert.equal(hostPort({ host: "::1", port: 1 }), "[::1]:1");
});

test("a proxy URL reads back as the same client and token", () => {
  const url = new URL(proxyUrl("[::1]:8787", "a.b-c", "skc_x_y-z@:/"));
  assert.deepEqual([url.username, decodeURIComponent(url.password), url.host], ["a.b-c", "skc_x_y-z@:/", "[::1]:8787"]);
});
