import assert from "node:assert/strict";
import { test } from "node:test";
import { takeRequest } from "./http1-reader.ts";

const take = (text: string) => takeRequest(Buffer.from(text, "latin1"));

test("a request is cut off exactly and the rest is kept", () => {
  const taken = take("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HT");
  assert.equal(taken?.request.method, "POST");
  assert.equal(taken?.request.target, "/a");
  assert.equal(taken?.request.body.toString(), "abc");
  assert.equal(taken?.rest.toString(), "GET / HT");
});

test("field order, spelling and repetition are kept", () => {
  const taken = take("GET / HTTP/1.1\r\nX-Key: 1\r\nhost: x\r\nx-key: 2\r\n\r\n");
  assert.deepEqual(taken?.request.headers, [
    ["X-Key", "1"],
    ["host", "x"],
    ["x-key", "2"],
  ]);
  assert.deepEqual(taken?.request.values("X-KEY"), ["1", "2"]);
});

test("a chunked body is joined, and its framing stays in the raw bytes", () => {
  const text = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n";
  const taken = take(`${text}more`);
  assert.equal(taken?.request.body.toString(), "abcde");
  assert.equal(taken?.request.bytes.toString(), text);
  assert.equal(taken?.rest.toString(), "more");
});

test("a request cut at any byte is incomplete, never wrong", () => {
  const text = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  for (let cut = 0; cut < text.length; cut += 1) assert.equal(take(text.slice(0, cut)), null, String(cut));
  assert.notEqual(take(text), null);
});

test("ambiguous or broken framing is an error", () => {
  assert.throws(() => take("GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), /both/);
  assert.throws(() => take("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx"), /repeated/);
  assert.throws(() => take("GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\nx"), /Content-Length is/);
  assert.throws(() => take("GET /a b HTTP/1.1\r\n\r\n"), /request line/);
  assert.throws(() => take("GET / HTTP/1.1\r\nA : b\r\n\r\n"), /header field/);
  assert.throws(() => take("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), /chunk size/);
});
