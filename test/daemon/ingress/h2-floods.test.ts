import assert from "node:assert/strict";
import { once } from "node:events";
import { type TestContext, test } from "node:test";
import type { Incoming, ParsedRequest } from "../../../src/daemon/pipeline/exchange.ts";
import { floodsOf } from "../../e2e/h2-floods.ts";
import { END_STREAM, FRAME, frame, headersFrame, openingFrames } from "../../e2e/h2-frames.ts";
import type { RawConnection } from "../../support/raw-client.ts";
import { ask, type RunningIngress, startIngress, startSession } from "./running-ingress.ts";

const TIMEOUT = { timeout: 20_000 };
const REQUEST = { ":method": "GET", ":scheme": "https", ":authority": "api.p.test", ":path": "/" };
/** Without its first nine bytes a HEADERS frame is a header block. */
const BLOCK = headersFrame(1, REQUEST).subarray(9);

async function flooder(t: TestContext, run: RunningIngress): Promise<RawConnection & { readonly over: () => boolean }> {
  const tunnel = await run.connect(t);
  const session = await tunnel.startTls({ ca: run.caPem, servername: "api.p.test", alpn: ["h2"] });
  let closed = false;
  tunnel.socket.once("close", () => {
    closed = true;
  });
  await session.write(openingFrames());
  return { ...session, over: () => closed };
}

/** Answers at once, but for a POST, whose body it reads for as long as there is one. */
function answer({ method, downstream }: Incoming, parsed: () => ParsedRequest): void {
  const { body } = parsed();
  body?.resume();
  if (method === "POST") return;
  downstream.sendHead(200, "", ["Content-Length", "0"], true);
  downstream.end([]);
}

for (const [name, { piece, reason, exchanges }] of Object.entries(floodsOf(REQUEST))) {
  test(`a flood of ${name} ends its connection, and nobody else's`, TIMEOUT, async (t) => {
    const run = await startIngress(t, answer);
    const other = await startSession(t, run);
    assert.equal((await ask(other, REQUEST)).status, 200);
    const before = run.seen.length;
    const flood = await flooder(t, run);
    for (let n = 0; !flood.over(); ) {
      const pieces = Array.from({ length: 100 }, () => piece(n++));
      const gone = new AbortController();
      await Promise.race([
        flood.write(Buffer.concat(pieces)),
        once(flood.socket, "close", { signal: gone.signal }).catch(() => {}),
      ]);
      gone.abort();
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.deepEqual([...new Set(run.refusals)], [reason]);
    assert.ok(run.seen.length - before <= exchanges, `${run.seen.length - before} exchanges began`);
    assert.equal((await ask(other, REQUEST)).status, 200);
    while (run.ingress.connections > 1) await new Promise((resolve) => setImmediate(resolve));
  });
}

test("a header list that is small on the wire and huge when it is read ends its stream", TIMEOUT, async (t) => {
  const run = await startIngress(t);
  const flood = await flooder(t, run);
  const long = Buffer.alloc(4_000, "v").toString("latin1");
  // One field of 4 KB goes into the dynamic table (RFC 7541 section 6.2.1), and then each byte is that field again.
  const entry = Buffer.concat([Buffer.from([0x40, 1]), Buffer.from("x"), hpackLength(long.length), Buffer.from(long)]);
  const again = Buffer.alloc(8_000, 0x80 | 62);
  await flood.write(frame(FRAME.headers, 0x4 | END_STREAM, 1, Buffer.concat([BLOCK, entry, again])));
  const reply = await flood.read((bytes) => bytes.includes(Buffer.from([0, 0, 4, FRAME.reset, 0, 0, 0, 0, 1])), 2_000);
  assert.notEqual(reply.ended, "timeout");
  assert.deepEqual(run.seen, []);
  const other = await startSession(t, run);
  assert.equal((await ask(other, REQUEST)).status, 200);
});

/** A length with a seven-bit prefix (RFC 7541 section 5.1). */
function hpackLength(length: number): Buffer {
  const bytes = [0x7f];
  let rest = length - 0x7f;
  for (; rest >= 0x80; rest >>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}
