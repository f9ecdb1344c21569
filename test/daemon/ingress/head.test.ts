import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_FIELDS, MAX_URL_LENGTH, readHead } from "../../../src/daemon/ingress/head.ts";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";

const HOST = ["Host", "api.p.test"];

/** The error's code and reason; null when the head is accepted. */
function refusal(fields: readonly string[], url = "/", version = "1.1", method = "POST"): string | null {
  try {
    readHead(method, url, version, fields);
    return null;
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    return error.reason === null ? error.code : `${error.code} ${error.reason}`;
  }
}

test("a plain head is read: host, framing, expectation", () => {
  const fields = [...HOST, "Content-Length", "12", "Expect", "100-Continue", "X", "y"];
  assert.deepEqual(readHead("POST", "/x?y=1", "1.1", fields), {
    method: "POST",
    url: "/x?y=1",
    fields,
    host: "api.p.test",
    hasBody: true,
    bodyLength: 12,
    expectContinue: true,
    websocket: false,
  });
});

test("only HTTP/1.0 and 1.1 are spoken, and only 1.0 may leave out Host", () => {
  for (const version of ["0.9", "1.2", "2.0", "", "1"])
    assert.equal(refusal(HOST, "/", version), "bad_request version");
  assert.equal(refusal([], "/", "1.1"), "bad_request host");
  assert.equal(refusal([], "/", "1.0"), null);
  assert.equal(readHead("GET", "/", "1.0", []).host, null);
});

test("a field that decides something may occur once, in any case and with equal values too", () => {
  for (const name of ["Host", "Content-Length", "Transfer-Encoding", "Expect", "Upgrade"]) {
    const value = { Host: "api.p.test", "Content-Length": "5", "Transfer-Encoding": "chunked" }[name] ?? "x";
    const twice = [name, value, "A", "1", name.toUpperCase(), value];
    const fields = name === "Host" ? twice : [...HOST, ...twice];
    assert.equal(refusal(fields), "bad_request duplicate_field", name);
  }
});

test("G15 clean-framing: what two parsers could frame differently is refused", () => {
  const refused: readonly string[][] = [
    ["Content-Length", "5", "Transfer-Encoding", "chunked"],
    ["Transfer-Encoding", ""],
    ["Transfer-Encoding", ",chunked"],
    ["Transfer-Encoding", "chunked, chunked"],
    ["Transfer-Encoding", "gzip, chunked"],
    ["Transfer-Encoding", "identity"],
    ["Transfer-Encoding", "xchunked"],
    ["Transfer-Encoding", "chunked;q=1"],
    ["Transfer-Encoding", "\x0bchunked"],
    ["Content-Length", ""],
    ["Content-Length", "+5"],
    ["Content-Length", "-1"],
    ["Content-Length", "05"],
    ["Content-Length", "5, 5"],
    ["Content-Length", "5 "],
    ["Content-Length", "0x5"],
    ["Content-Length", "5e3"],
    ["Content-Length", "99999999999999999"],
  ];
  for (const fields of refused) assert.equal(refusal([...HOST, ...fields]), "bad_request framing", fields.join(": "));
  assert.equal(refusal(["Transfer-Encoding", "chunked"], "/", "1.0"), "bad_request framing");
});

test("the framings that are left have one reading", () => {
  const framing = (...fields: string[]): [boolean, number | null] => {
    const { hasBody, bodyLength } = readHead("POST", "/", "1.1", [...HOST, ...fields]);
    return [hasBody, bodyLength];
  };
  assert.deepEqual(framing(), [false, null]);
  assert.deepEqual(framing("content-length", "0"), [false, 0]);
  assert.deepEqual(framing("CONTENT-LENGTH", "1048577"), [true, 1048577]);
  assert.deepEqual(framing("Transfer-Encoding", "Chunked"), [true, null]);
});

test("a URL is visible ASCII without a fragment, and not endless", () => {
  assert.equal(refusal(HOST, `/${"a".repeat(MAX_URL_LENGTH - 1)}`), null);
  assert.equal(refusal(HOST, `/${"a".repeat(MAX_URL_LENGTH)}`), "bad_request url_length");
  for (const url of ["", "/a b", "/\t", "/\u00e9", "/\x7f", "/\0", "/a\r\nx: y"]) {
    assert.equal(refusal(HOST, url), "bad_request url_characters", JSON.stringify(url));
  }
  for (const url of ["/#", "/a#b", "http://api.p.test/#x"])
    assert.equal(refusal(HOST, url), "bad_request url_fragment");
});

test("as many fields as the bound are accepted, one more is too large", () => {
  const some = (count: number): string[] => [...HOST, ...Array.from({ length: (count - 1) * 2 }, () => "x")];
  assert.equal(refusal(some(MAX_FIELDS)), null);
  assert.equal(refusal(some(MAX_FIELDS + 1)), "headers_too_large");
});

test("an expectation other than 100-continue is refused", () => {
  assert.equal(refusal([...HOST, "Expect", "200-ok"]), "expectation_failed");
  assert.equal(refusal([...HOST, "Expect", ""]), "expectation_failed");
});

test("an upgrade counts as WebSocket only when Connection says so as well", () => {
  const websocket = (...fields: string[]): boolean => readHead("GET", "/", "1.1", [...HOST, ...fields]).websocket;
  assert.equal(websocket("Upgrade", "WebSocket", "Connection", "keep-alive, Upgrade"), true);
  assert.equal(websocket("Connection", "keep-alive", "connection", "UPGRADE", "upgrade", "websocket"), true);
  assert.equal(websocket("Upgrade", "websocket"), false);
  assert.equal(websocket("Upgrade", "websocket", "Connection", "close"), false);
  assert.equal(websocket("Upgrade", "h2c", "Connection", "Upgrade"), false);
  assert.equal(websocket("Upgrade", "h2c, websocket", "Connection", "Upgrade"), false);
});
