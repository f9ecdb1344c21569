import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import type { Form } from "./form-client.ts";
import { assertCharged, chatAsk, countedAs, type Lie, type LyingScene, lyingScene } from "./lying-scene.ts";

const TIMEOUT = { timeout: 60_000 };

const OK = "HTTP/1.1 200 OK\r\n";
const CHUNKED = `${OK}Transfer-Encoding: chunked\r\n\r\n`;
const TWO = "Content-Length: 2\r\n\r\nok";

/** These bytes, and then the end of the connection. */
const last =
  (bytes: string): Lie =>
  (socket) =>
    void socket.end(bytes, "latin1");

const INVALID = "502 upstream_protocol whole";
const GONE = "502 upstream_connect whole";
const WHOLE = "200 ok whole";

/** What the client gets for each lie. An answer that is cut is never `whole`. */
const LENGTHS: Readonly<Record<string, readonly [Lie, string]>> = {
  "a length that is too long": [last(`${OK}Content-Length: 10\r\n\r\nhalf`), "200 half cut"],
  "a length beyond every file": [last(`${OK}Content-Length: ${"9".repeat(18)}\r\n\r\nok`), "200 ok cut"],
  "a length that is too short": [`${OK}Content-Length: 2\r\n\r\nokEXTRA`, WHOLE],
  "a second answer behind the first": [`${OK}${TWO}${OK}Content-Length: 6\r\n\r\nforged`, WHOLE],
  "the same length twice": [`${OK}Content-Length: 2\r\n${TWO}`, INVALID],
  "two lengths": [`${OK}Content-Length: 3\r\n${TWO}`, INVALID],
  "a list of lengths": [`${OK}Content-Length: 2, 2\r\n\r\nok`, INVALID],
  "a negative length": [`${OK}Content-Length: -2\r\n\r\nok`, INVALID],
  "a signed length": [`${OK}Content-Length: +2\r\n\r\nok`, INVALID],
  "a hexadecimal length": [`${OK}Content-Length: 0x2\r\n\r\nok`, INVALID],
  "an empty length": [`${OK}Content-Length: \r\n\r\nok`, INVALID],
  "a length of 30 digits": [`${OK}Content-Length: ${"9".repeat(30)}\r\n\r\nok`, INVALID],
  "a blank before the colon": [`${OK}Content-Length : 2\r\n\r\nok`, INVALID],
  "length, then chunks": [`${OK}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`, INVALID],
  "chunks, then length": [`${OK}Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n`, INVALID],
  "gzip as a transfer coding": [last(`${OK}Transfer-Encoding: gzip\r\n\r\nok`), INVALID],
  "gzip below chunks": [`${OK}Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`, INVALID],
  "chunked twice": [`${CHUNKED.trimEnd()}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`, INVALID],
  "an unknown transfer coding": [last(`${OK}Transfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`), INVALID],
  "chunked, but not last": [last(`${OK}Transfer-Encoding: chunked, identity\r\n\r\n2\r\nok\r\n0\r\n\r\n`), INVALID],
};

const CHUNKS: Readonly<Record<string, readonly [Lie, string]>> = {
  "a chunk size that is none": [`${CHUNKED}zz\r\nok\r\n`, "200  cut"],
  "a negative chunk size": [`${CHUNKED}-2\r\nok\r\n0\r\n\r\n`, "200  cut"],
  "a chunk size beyond 64 bits": [`${CHUNKED}FFFFFFFFFFFFFFFFF\r\nok\r\n0\r\n\r\n`, "200  cut"],
  "a chunk size of 64 bits": [last(`${CHUNKED}FFFFFFFFFFFFFFFF\r\nok`), "200 ok cut"],
  "a second chunk size that is none": [`${CHUNKED}2\r\nok\r\nzz\r\n`, "200 ok cut"],
  "a chunk longer than its size": [`${CHUNKED}2\r\nok2\r\nok\r\n0\r\n\r\n`, "200 ok cut"],
  "chunks with bare line feeds": [`${CHUNKED}2\nok\n0\n\n`, "200  cut"],
  "a chunk extension": [`${CHUNKED}2;a=b;c="d"\r\nok\r\n0\r\n\r\n`, WHOLE],
  "a chunk extension without end": [`${CHUNKED}2;${"a=b;".repeat(300_000)}\r\nok\r\n0\r\n\r\n`, "200  cut"],
  "many long chunk extensions": [`${CHUNKED}${`1;${"a=b;".repeat(3000)}\r\nx\r\n`.repeat(300)}0\r\n\r\n`, "200  cut"],
  "trailers without end": [`${CHUNKED}2\r\nok\r\n0\r\n${"X-T: and more\r\n".repeat(50_000)}\r\n`, "200 ok cut"],
  "a trailer that is no field": [`${CHUNKED}2\r\nok\r\n0\r\nX T: a\r\n\r\n`, "200 ok cut"],
};

const HEADS: Readonly<Record<string, readonly [Lie, string]>> = {
  "HTTP/1.0": [last("HTTP/1.0 200 OK\r\n\r\nok"), WHOLE],
  "HTTP/1.0 with a length": [`HTTP/1.0 200 OK\r\n${TWO}`, WHOLE],
  "an answer of HTTP/0.9": [last("<html>hello</html>\r\n\r\n"), INVALID],
  "an unknown version": [`HTTP/9.9 200 OK\r\n${TWO}`, INVALID],
  "another protocol": [`ICY 200 OK\r\n${TWO}`, INVALID],
  "a status of four digits": [`HTTP/1.1 2000 OK\r\n${TWO}`, INVALID],
  "a status of two digits": [`HTTP/1.1 99 OK\r\n${TWO}`, INVALID],
  "status 000": [`HTTP/1.1 000 OK\r\n${TWO}`, INVALID],
  "a status in words": [`HTTP/1.1 abc OK\r\n${TWO}`, INVALID],
  "NUL in a value": [`${OK}X-A: a\0b\r\n${TWO}`, INVALID],
  "NUL in the reason": [`HTTP/1.1 200 O\0K\r\n${TWO}`, WHOLE],
  "nothing but NUL": ["\0".repeat(1000), INVALID],
  "a blank in a name": [`${OK}X A: a\r\n${TWO}`, INVALID],
  "a line without a colon": [`${OK}nonsense\r\n${TWO}`, INVALID],
  "bare line feeds": ["HTTP/1.1 200 OK\nContent-Length: 2\n\nok", INVALID],
  "a bare carriage return": [`${OK}X-A: a\rContent-Length: 3\r\n${TWO}`, INVALID],
  "a folded line": [`${OK}X-A: a\r\n  b\r\n${TWO}`, INVALID],
  "a fold before the first field": [`${OK} X-A: a\r\n${TWO}`, INVALID],
  "a value of 64 KiB": [`${OK}X-A: ${"v".repeat(65_536)}\r\n${TWO}`, INVALID],
  "a switch of protocols that nobody asked for": [
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    INVALID,
  ],
  "nine interim answers": [`${"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(9)}${OK}${TWO}`, INVALID],
  "an interim answer alone": [last("HTTP/1.1 102 Processing\r\n\r\n"), GONE],
  "a body behind 204": [`HTTP/1.1 204 No\r\n${TWO}`, "204  whole"],
  "a body behind 304": [`HTTP/1.1 304 No\r\n${TWO}`, "304  whole"],
};

const OUTCOMES: readonly (readonly [RegExp, string])[] = [
  [/^502 (\w+) whole$/, ""],
  [/ cut$/, "truncated"],
  [/ whole$/, "ok"],
];

function expectedOutcome(text: string): string {
  const [pattern, outcome] = OUTCOMES.find(([each]) => each.test(text)) ?? [/$/, ""];
  return outcome === "" ? (pattern.exec(text)?.[1] ?? "") : outcome;
}

async function lieAll(scene: LyingScene, form: Form, lies: Readonly<Record<string, readonly [Lie, string]>>) {
  for (const [what, [lie, expected]] of Object.entries(lies)) {
    const told = await scene.lie(lie, { form });
    assert.equal(told.text, expected, what);
    assert.equal(told.line.outcome, expectedOutcome(expected), what);
    assertCharged(told);
  }
}

for (const form of ["absolute", "connect-h2"] as const) {
  for (const [what, lies] of Object.entries({ lengths: LENGTHS, chunks: CHUNKS, heads: HEADS })) {
    test(`${form}: ${what} that lie end in a clean error or a cut answer, and harm nobody else`, TIMEOUT, async (t) => {
      const scene = await lyingScene(t);
      await lieAll(scene, form, lies);
      const metrics = await scene.metrics();
      const cut = Object.values(lies).filter(([, expected]) => expected.endsWith(" cut")).length;
      assert.equal(countedAs(metrics, "truncated"), cut);
    });
  }
}

const USAGE = { prompt_tokens: 30, completion_tokens: 50, total_tokens: 80 };
const PLAIN = JSON.stringify({ model: "gpt-t", choices: [{ message: { content: "a few words" } }], usage: USAGE });
const EVENTS = [
  { model: "gpt-t", choices: [{ delta: { content: "a few" } }] },
  { model: "gpt-t", choices: [{ delta: { content: " words" } }] },
  { model: "gpt-t", choices: [], usage: USAGE },
]
  .map((event) => `data: ${JSON.stringify(event)}\n\n`)
  .join("");

/** Whole answers as they are on the wire. */
const TRANSCRIPTS: readonly string[] = [
  `${OK}Content-Type: application/json\r\nContent-Length: ${PLAIN.length}\r\n\r\n${PLAIN}`,
  `${OK}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${PLAIN.length.toString(16)}\r\n${PLAIN}\r\n0\r\nX-T: 1\r\n\r\n`,
  `${OK}Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n${EVENTS.length.toString(16)}\r\n${EVENTS}\r\n0\r\n\r\n`,
];

async function cutAnywhere(t: TestContext, drop: boolean): Promise<void> {
  const scene = await lyingScene(t);
  const cuts = fc.record({ which: fc.nat(TRANSCRIPTS.length - 1), share: fc.double({ min: 0, max: 1, noNaN: true }) });
  await fc.assert(
    fc.asyncProperty(cuts, async ({ which, share }) => {
      const transcript = TRANSCRIPTS[which] ?? "";
      const at = Math.min(transcript.length - 1, Math.floor(share * transcript.length));
      const told = await scene.lie(
        (socket) => {
          if (drop) socket.write(transcript.slice(0, at), "latin1", () => socket.destroy());
          else socket.end(transcript.slice(0, at), "latin1");
        },
        { ask: which === 2 ? chatAsk({ stream: true }) : chatAsk() },
      );
      const headEnd = transcript.indexOf("\r\n\r\n") + 4;
      if (at < headEnd) assert.equal(told.text, GONE);
      else assert.match(told.text, / cut$/);
      assert.equal(told.line.outcome, at < headEnd ? "upstream_connect" : "truncated");
      assertCharged(told);
      // Never more than was told once a usage could be read.
      if (told.line.usage === "exact") assert.equal(told.charged, 80);
    }),
    { numRuns: 40 },
  );
}

test("an answer that ends at any byte is never completed, and charged what was told or reserved", TIMEOUT, (t) =>
  cutAnywhere(t, false),
);

test("an answer whose connection is dropped at any byte is never completed either", TIMEOUT, (t) =>
  cutAnywhere(t, true),
);
