import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { readHead } from "../../../src/daemon/ingress/head.ts";
import {
  absoluteTarget,
  connectAuthority,
  interceptedTarget,
  originTarget,
} from "../../../src/daemon/ingress/target.ts";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import type { RequestTarget } from "../../../src/daemon/pipeline/exchange.ts";
import { compiled, withRoutes } from "../../policy/policy-fixture.ts";

const POLICY = compiled(
  withRoutes(`  data: { provider: p, hosts: [data.p.test], credentials: [p-main], clients: [app] }
  p-api: { provider: p, hosts: [api.p.test], credentials: [p-main], clients: [app] }
  odd: { provider: p, hosts: ["api.p.test:8443"], credentials: [p-main], clients: [batch] }
`),
).snapshot;
const LOCAL = new Set(["localhost", "sidekey", "127.0.0.1", "::1"]);

/** `host:port path?query`, or `code reason`. */
function reading(read: () => RequestTarget | { host: string; port: number }): string {
  try {
    const target = read();
    if (!("path" in target)) return `${target.host}:${target.port}`;
    return `${target.host}:${target.port} ${target.path}${target.query === "" ? "" : `?${target.query}`}`;
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    return `${error.code} ${error.reason}`;
  }
}

function absolute(url: string, host: string | null = null): string {
  const fields = host === null ? [] : ["Host", host];
  return reading(() => absoluteTarget(readHead("GET", url, host === null ? "1.0" : "1.1", fields)));
}

function connect(url: string, host: string | null = null): string {
  const fields = host === null ? [] : ["Host", host];
  return reading(() => connectAuthority(readHead("CONNECT", url, host === null ? "1.0" : "1.1", fields)));
}

function inner(url: string, host: string, authority = { host: "api.p.test", port: 443 }, plain = false): string {
  return reading(() => interceptedTarget(readHead("GET", url, "1.1", ["Host", host]), authority, plain));
}

function origin(url: string, host = "127.0.0.1:8787", ...fields: string[]): string {
  return reading(() => originTarget(readHead("GET", url, "1.1", ["Host", host, ...fields]), POLICY, LOCAL));
}

test("absolute-form: every honest spelling of a host is one target, https on 443 unless the port says otherwise", () => {
  const cases: readonly [string, string | null, string][] = [
    ["http://api.p.test/v1?a=b", "api.p.test", "api.p.test:443 /v1?a=b"],
    ["http://api.p.test", "api.p.test", "api.p.test:443 /"],
    ["http://api.p.test?a=1", "api.p.test", "api.p.test:443 /?a=1"],
    ["http://api.p.test/?", "api.p.test", "api.p.test:443 /"],
    ["http://api.p.test:80/", "api.p.test", "api.p.test:443 /"],
    ["http://api.p.test/", "api.p.test:80", "api.p.test:443 /"],
    ["http://api.p.test:443/", "api.p.test:443", "api.p.test:443 /"],
    ["https://api.p.test/", "api.p.test", "api.p.test:443 /"],
    ["https://api.p.test:8443/", "api.p.test:8443", "api.p.test:8443 /"],
    ["http://api.p.test:8080/", "api.p.test:8080", "api.p.test:8080 /"],
    ["https://api.p.test:80/", "api.p.test:80", "api.p.test:80 /"],
    ["HTTP://API.P.Test./x", "api.p.TEST", "api.p.test:443 /x"],
    ["http://xn--bcher-kva.test/", "XN--BCHER-kva.test.", "xn--bcher-kva.test:443 /"],
    ["http://api.p.test/a//b/%2F/../c?x=/?y", "api.p.test", "api.p.test:443 /a//b/%2F/../c?x=/?y"],
    ["http://api.p.test/http://evil.test/", "api.p.test", "api.p.test:443 /http://evil.test/"],
    ["http://[::1]:5000/", "[::1]:5000", "::1:5000 /"],
    ["http://api.p.test/", null, "api.p.test:443 /"],
  ];
  for (const [url, host, expected] of cases) assert.equal(absolute(url, host), expected, `${url} with Host ${host}`);
});

test("G1 right-origin: absolute-form and Host that differ are refused, port included", () => {
  const cases: readonly [string, string][] = [
    ["http://api.p.test/", "evil.test"],
    ["http://evil.test/", "api.p.test"],
    ["http://api.p.test/", "api.p.test:8443"],
    ["http://api.p.test:8443/", "api.p.test"],
    ["http://api.p.test/", "api.p.test.evil.test"],
    ["https://api.p.test/", "api.p.test:80"],
  ];
  for (const [url, host] of cases) assert.equal(absolute(url, host), "bad_request host_mismatch", `${url} ${host}`);
});

test("absolute-form: what two programs could read differently is no target at all", () => {
  const hosts = [
    ...["user@api.p.test", "api.p.test@evil.test", "user:pw@api.p.test", "", ":443", "api.p.test:", "api.p.test:0"],
    ...["api.p.test:65536", "api.p.test:0443", "api.p.test:443:443", "api.p.test,evil.test", "api..p.test", ".p.test"],
    ...["api.p.test..", "api%2ep.test", "api.p.test\\@evil.test", "api_p.test", "*.p.test", "-a.test", "127.1"],
    ...["0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.1.", "[::1", "::1", "[fe80::1%25lo]", "[api.p.test]"],
  ];
  for (const host of hosts) {
    assert.equal(absolute(`http://${host}/`, "api.p.test"), "bad_request host", host);
    assert.equal(absolute("http://api.p.test/", host), "bad_request host", host);
  }
  for (const host of ["b\u00fccher.test", "api\u3002p.test", "api.p.test ", "a\tb"]) {
    assert.equal(absolute("http://api.p.test/", host), "bad_request host", host);
  }
});

test("absolute-form: other schemes and shapes are refused", () => {
  const urls = ["ftp://api.p.test/", "ws://api.p.test/", "http:/api.p.test/", "http:api.p.test", "//api.p.test/", "*"];
  for (const url of [...urls, "api.p.test", "file:///etc/passwd", "http//api.p.test", " http://api.p.test/"]) {
    assert.match(absolute(url, "api.p.test"), /^bad_request (target|url_characters)$/, url);
  }
  assert.equal(absolute("http:///path", "api.p.test"), "bad_request host");
});

test("CONNECT: host and port are both needed, and Host must agree", () => {
  const cases: readonly [string, string | null, string][] = [
    ["api.p.test:443", "api.p.test:443", "api.p.test:443"],
    ["api.p.test:443", "api.p.test", "api.p.test:443"],
    ["API.p.test.:443", "api.P.test:443", "api.p.test:443"],
    ["api.p.test:8443", "api.p.test:8443", "api.p.test:8443"],
    ["[::1]:443", "[0:0::1]:443", "::1:443"],
    ["api.p.test:443", null, "api.p.test:443"],
    ["api.p.test:443", "evil.test:443", "bad_request host_mismatch"],
    ["api.p.test:443", "api.p.test:80", "bad_request host_mismatch"],
    ["api.p.test:443", "", "bad_request host"],
    ["api.p.test:443", "a b", "bad_request host"],
  ];
  for (const [url, host, expected] of cases) assert.equal(connect(url, host), expected, `${url} with Host ${host}`);
  const refused = [
    ...["api.p.test", "api.p.test:", "api.p.test:0", "api.p.test:00443", "api.p.test:65536", ":443", "/", "*"],
    ...["user:pw@api.p.test:443", "https://api.p.test:443", "api.p.test:443/x", "api.p.test:443?x", "::1:443"],
    ...["api.p.test,evil.test:443", "api.p.test:443,evil.test:443", "0x7f.1:443", "a%00b:443", "[example.com]:443"],
  ];
  for (const url of refused) assert.equal(connect(url, "api.p.test:443"), "bad_request target", url);
});

test("G1 right-origin: inside a CONNECT every Host must be the CONNECT's authority, port included", () => {
  assert.equal(inner("/v1?x=1", "api.p.test"), "api.p.test:443 /v1?x=1");
  assert.equal(inner("/", "API.P.TEST.:443"), "api.p.test:443 /");
  const odd = { host: "api.p.test", port: 8443 };
  assert.equal(inner("/", "api.p.test:8443", odd), "api.p.test:8443 /");
  assert.equal(inner("/", "api.p.test", odd), "authority_mismatch null");
  for (const host of ["evil.test", "data.p.test", "api.p.test:80", "api.p.test:8443", "p.test", "127.0.0.1"]) {
    assert.equal(inner("/", host), "authority_mismatch null", host);
  }
  for (const host of ["", "u@api.p.test", "api.p.test,evil.test"]) assert.equal(inner("/", host), "bad_request host");
  for (const url of ["http://api.p.test/", "https://api.p.test/", "*", "api.p.test:443"]) {
    assert.equal(inner(url, "api.p.test"), "bad_request target", url);
  }
  const head = readHead("GET", "/", "1.0", []);
  assert.equal(
    reading(() => interceptedTarget(head, odd, false)),
    "bad_request host",
  );
});

test("inside a tunnel to port 80 Host may say 80 or nothing; it is the same host on 443", () => {
  const authority = { host: "api.p.test", port: 443 };
  for (const host of ["api.p.test", "api.p.test:80", "API.p.test.:80", "api.p.test:443"]) {
    assert.equal(inner("/x", host, authority, true), "api.p.test:443 /x", host);
  }
  for (const host of ["data.p.test", "api.p.test:8443", "evil.test:80"]) {
    assert.equal(inner("/x", host, authority, true), "authority_mismatch null", host);
  }
  assert.equal(inner("/x", "api.p.test:80", authority, false), "authority_mismatch null");
});

test("origin-form: the first segment names a route or a provider, and the rest goes on byte-exact", () => {
  assert.equal(origin("/p-api/v1/x?y=%20"), "api.p.test:443 /v1/x?y=%20");
  assert.equal(origin("/data"), "data.p.test:443 /");
  assert.equal(origin("/data?x=1"), "data.p.test:443 /?x=1");
  assert.equal(origin("/odd/"), "api.p.test:8443 /");
  assert.equal(origin("/p/%2e%2e//q\\"), "data.p.test:443 /%2e%2e//q\\");
  for (const url of [
    "/",
    "//evil.test/x",
    "/P-api/x",
    "/p%2dapi/x",
    "/nobody/x",
    "/__proto__/x",
    "/p-api;x/y",
    "/../p/x",
  ]) {
    assert.equal(origin(url), "no_route segment_not_in_policy", url);
  }
});

test("origin-form answers to its own names only, so a page cannot reach it through a name of its own", () => {
  for (const host of ["localhost", "LOCALHOST:8787", "sidekey:1", "127.0.0.1", "[::1]:8787", "localhost."]) {
    assert.equal(origin("/data/", host), "data.p.test:443 /", host);
  }
  for (const host of ["evil.test", "evil.test:8787", "localhost.evil.test", "127.0.0.2", "api.p.test", "0.0.0.0"]) {
    assert.equal(origin("/data/", host), "authority_mismatch null", host);
  }
  for (const host of ["", "localhost@evil.test", "127.1", "[::1", "localhost:99999"]) {
    assert.equal(origin("/data/", host), "bad_request host", host);
  }
  const head = readHead("GET", "/data/", "1.0", []);
  assert.equal(
    reading(() => originTarget(head, POLICY, LOCAL)),
    "bad_request host",
  );
});

test("origin-form refuses what a web page sends", () => {
  const pages = [
    ["Origin", "https://evil.test"],
    ["ORIGIN", "null"],
    ["Origin", ""],
    ["Sec-Fetch-Site", "cross-site"],
    ["sec-fetch-site", "same-site"],
    ["Sec-Fetch-Site", ""],
  ];
  for (const field of pages) {
    assert.equal(origin("/data/", "localhost", ...field), "not_allowed cross_site", field.join(": "));
  }
  for (const site of ["none", "same-origin"]) {
    assert.equal(origin("/data/", "localhost", "Sec-Fetch-Site", site), "data.p.test:443 /");
  }
});

test("property: whatever is accepted has exactly one reading, which the WHATWG parser shares", () => {
  const piece = fc.constantFrom(
    ..."api.p.test evil.test . : 443 80 0 @ / \\ ? # % %2e , [ ] ::1 127.1 0x7f 1 a A - _ ; u http:// \u00e9 \u3002".split(
      " ",
    ),
    "",
  );
  const text = fc.array(piece, { maxLength: 6 }).map((parts) => parts.join(""));
  fc.assert(
    fc.property(text, text, fc.constantFrom("http", "https"), (authority, host, scheme) => {
      const url = `${scheme}://${authority}/x`;
      const same = absolute(url, host === "" ? authority : host);
      const accepted = /^(\S+):(\d+) \//.exec(same);
      if (!accepted) return;
      const theirs = new URL(url);
      assert.equal(theirs.username + theirs.password, "");
      assert.equal(theirs.hostname.replace(/\.$/, "").replace(/^\[(.*)\]$/, "$1"), accepted[1]);
      const port = theirs.port === "" ? "443" : theirs.port;
      assert.equal(port, accepted[2]);
    }),
    { numRuns: 5000 },
  );
});
