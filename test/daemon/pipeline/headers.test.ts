import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import { cleanRequest, responseFields, responseTrailers } from "../../../src/daemon/pipeline/headers.ts";
import type { Carriers } from "../../../src/providers/schema.ts";

const CARRIERS: Carriers = {
  headers: new Set(["x-api-key", "authorization"]),
  query: new Set(["apikey"]),
  body: [],
  cookies: new Set(["session"]),
};
const STRIP = { stripCookies: true, stripAuthenticate: true };
const PASS = { stripCookies: false, stripAuthenticate: false };

function cleaned(fields: readonly string[], query = ""): readonly string[] {
  return cleanRequest(fields, query, CARRIERS).fields;
}

function raw(fields: readonly string[]): Buffer[] {
  return fields.map((text) => Buffer.from(text, "latin1"));
}

function names(fields: readonly string[]): string[] {
  return fields.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase());
}

test("G4 inject-last: what a client lists in Connection goes, however the list is written", () => {
  const lists: readonly string[][] = [
    ["Connection", "x-trace"],
    ["Connection", "", "Connection", "x-trace"],
    ["connection", "close, x-trace"],
    ["CONNECTION", "Keep-Alive", "Connection", "X-TRACE"],
    ["Connection", "x-other", "Connection", "\tx-trace ,, "],
  ];
  for (const list of lists) {
    for (const fields of [
      [...list, "X-Trace", "1"],
      ["X-Trace", "1", ...list],
    ]) {
      assert.deepEqual(cleaned([...fields, "accept", "*/*"]), ["accept", "*/*"], JSON.stringify(fields));
    }
  }
});

test("G4 inject-last: a key that the client sent is gone before ours is added, so listing our field removes nothing", () => {
  for (const name of ["x-api-key", "X-Api-Key", "X_API_KEY", "authorization"]) {
    const fields = ["Connection", `close, ${name}`, name, "client's own", name, "another", "accept", "*/*"];
    assert.deepEqual(cleaned(fields), ["accept", "*/*"], name);
    assert.deepEqual(cleaned(fields.slice(2)), ["accept", "*/*"], name);
  }
});

test("every carrier is cleaned: fields, query and cookies, whatever the case; the rest keeps its bytes", () => {
  const clean = cleanRequest(
    ["X-API-KEY", "a", "Cookie", "theme=dark; session=secret; lang=en", "Accept", "a,b", "accept", "c"],
    "a=%2F&APIKEY=one&b=&apikey=two",
    CARRIERS,
  );
  assert.deepEqual(clean, {
    fields: ["Cookie", "theme=dark; lang=en", "Accept", "a,b", "accept", "c"],
    query: "a=%2F&b=",
  });
});

test("connection-specific, framing and identity fields never pass", () => {
  const dropped = [
    ["Connection", "keep-alive"],
    ["Keep-Alive", "timeout=5"],
    ["Proxy-Connection", "keep-alive"],
    ["Proxy-Authorization", "Basic c2tjOg=="],
    ["TE", "trailers"],
    ["Trailer", "x-checksum"],
    ["Transfer-Encoding", "chunked"],
    ["Upgrade", "h2c"],
    ["HTTP2-Settings", "AAMAAABk"],
    ["Host", "evil.test"],
    ["Content-Length", "5"],
    ["Expect", "100-continue"],
    ["Via", "1.1 other"],
    ["Forwarded", "for=1.2.3.4"],
    ["X-Forwarded-For", "1.2.3.4"],
    ["X-Forwarded-Host", "evil.test"],
    ["X-Forwarded-Proto", "http"],
    ["X-Real-IP", "1.2.3.4"],
    ["Sidekey-User", "user-1"],
  ];
  for (const field of dropped) {
    assert.deepEqual(cleaned(["A", "1", ...field, "B", "2"]), ["A", "1", "B", "2"], field[0]);
    assert.deepEqual(cleaned([(field[0] ?? "").toUpperCase(), field[1] ?? ""]), [], field[0]);
  }
  assert.deepEqual(cleaned(["Content-Type", "text/plain", "User-Agent", "x", "X-My_Field", "ok"]), [
    "Content-Type",
    "text/plain",
    "User-Agent",
    "x",
    "X-My_Field",
    "ok",
  ]);
});

test("a name that another server reads as a framing or identity field is refused", () => {
  for (const name of [
    "Transfer_Encoding",
    "content_length",
    "X_Forwarded_For",
    "proxy_authorization",
    "HTTP2_settings",
  ]) {
    assert.throws(
      () => cleaned([name, "x"]),
      (error) => error instanceof ProxyError && error.code === "bad_request" && error.reason === "confusable_field",
      name,
    );
  }
});

test("names of Object.prototype are fields like any other", () => {
  const fields = ["__proto__", "1", "constructor", "2", "toString", "3", "hasOwnProperty", "4"];
  assert.deepEqual(cleaned(fields), fields);
  assert.deepEqual(responseFields(raw(fields), STRIP, false), fields);
});

test("property: nothing that reaches the provider was listed, dropped, or a carrier", () => {
  const name = fc.constantFrom(
    "X-Api-Key",
    "authorization",
    "X-A",
    "x-b",
    "TE",
    "Proxy-Authorization",
    "host",
    "Accept",
  );
  const connection = fc.tuple(
    fc.constantFrom("Connection", "connection"),
    fc.array(name, { maxLength: 3 }).map((list) => list.join(",")),
  );
  const field = fc.oneof(fc.tuple(name, fc.constant("v")), connection);
  fc.assert(
    fc.property(fc.array(field, { maxLength: 12 }), (pairs) => {
      const listed = pairs
        .filter(([first]) => first.toLowerCase() === "connection")
        .flatMap(([, value]) => value.toLowerCase().split(","));
      const forbidden = new Set([...listed, "connection", "te", "proxy-authorization", "host", ...CARRIERS.headers]);
      const kept = names(cleaned(pairs.flat()));
      assert.ok(kept.every((one) => !forbidden.has(one)));
      const expected = pairs.filter(([first]) => !forbidden.has(first.toLowerCase())).length;
      assert.equal(kept.length, expected);
    }),
  );
});

test("an answer loses what is connection-specific, what every Connection field lists, and alt-svc", () => {
  const fields = responseFields(
    raw([
      ...["Date", "now", "Connection", "close, X-One", "X-One", "1", "connection", "x-two", "X-Two", "2"],
      ...["Keep-Alive", "timeout=5", "Alt-Svc", 'h3=":443"', "Upgrade", "h2c", "Proxy-Authenticate", "Basic"],
      ...["Sidekey-Error", "internal", "Sidekey-Attempts", "a;s=200", "Trailer", "x", "Link", "<a>", "Link", "<b>"],
    ]),
    PASS,
    false,
  );
  assert.deepEqual(fields, ["Date", "now", "Link", "<a>", "Link", "<b>"]);
});

test("an answer that is both chunked and counted keeps only its chunks; without content the length is information", () => {
  const both = raw(["Content-Length", "5", "Transfer-Encoding", "chunked", "ETag", "x"]);
  assert.deepEqual(responseFields(both, PASS, false), ["ETag", "x"]);
  assert.deepEqual(responseFields(raw(["content-length", "5"]), PASS, false), ["content-length", "5"]);
  assert.deepEqual(responseFields(raw(["Content-Length", "5"]), PASS, true), ["Content-Length", "5"]);
});

test("cookies and challenges are stripped or passed as the route says", () => {
  const answer = ["Set-Cookie", "a=1", "set-cookie", "b=2", "WWW-Authenticate", "Bearer", "Authentication-Info", "x"];
  assert.deepEqual(responseFields(raw(answer), STRIP, false), []);
  assert.deepEqual(responseFields(raw(answer), PASS, false), answer);
});

test("bytes above ASCII in an answer's field come through unchanged", () => {
  const [, value = ""] = responseFields([Buffer.from("x-name"), Buffer.from([0x63, 0xe9, 0xff])], PASS, false);
  assert.deepEqual(Buffer.from(value, "latin1"), Buffer.from([0x63, 0xe9, 0xff]));
});

test("trailers pass, but for those that would change framing, routing or identity", () => {
  const trailers = ["grpc-status", "0", "X-Checksum", "abc"];
  const refused = ["Content-Length", "5", "Transfer-Encoding", "chunked", "Host", "evil.test", "Authorization", "x"];
  const session = ["Set-Cookie", "a=1", "WWW-Authenticate", "Basic", "Authentication-Info", "nextnonce=1"];
  assert.deepEqual(responseTrailers(raw([...refused, ...trailers, ...session])), trailers);
  assert.deepEqual(responseTrailers([]), []);
});
