import assert from "node:assert/strict";
import { test } from "node:test";
import { askReadable } from "../../../src/daemon/pipeline/readable.ts";

test("an answer is asked for whole, in a coding that can be read, and without WebSocket compression", () => {
  assert.deepEqual(
    askReadable([
      "Accept",
      "*/*",
      "Range",
      "bytes=0-5",
      "IF-RANGE",
      '"x"',
      "Accept-Encoding",
      "br",
      "sec-websocket-extensions",
      "permessage-deflate",
      "accept-encoding",
      "compress, identity;q=0",
    ]),
    { fields: ["Accept", "*/*", "Accept-Encoding", "br"], mustEncode: "br" },
  );
});

test("a client that says nothing of codings asks for nothing of them", () => {
  const fields = ["Accept", "*/*", "X-Range", "1"];
  assert.deepEqual(askReadable(fields), { fields, mustEncode: null });
});
