import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { corpusOrSkip } from "../support/corpus.ts";
import { connectRaw, type RawConnection, type RawReply, wholeResponse } from "../support/raw-client.ts";
import { pause } from "../support/running-sidekey.ts";
import { tunnelTo } from "./request-form.ts";
import { hostOf, type Scene, startScene, upstreamOf } from "./scene.ts";

interface Probe {
  readonly id: string;
  readonly expected: string;
  readonly raw: string;
}

interface Fixture {
  readonly kind: string;
  readonly title: string;
  readonly file: string;
  readonly log: string;
  readonly raw: string;
  readonly error: boolean;
}

/** How one raw request is brought to sidekey: in a base URL, or inside an intercepted CONNECT. */
type Way = "origin" | "connect";

const HOST = hostOf("header");
/** The bytes that make these cases were lost when the collection was made. */
const LOST = /^MAL-(BINARY|NON-ASCII|URL-OVERLONG)/;
/** Refused for a reason that comes before framing: no route leads to the target of this CONNECT. */
const REFUSED_OTHERWISE: ReadonlyMap<string, number> = new Map([["COMP-METHOD-CONNECT", 403]]);

function mustReject({ id, expected }: Probe): boolean {
  return !LOST.test(id) && !/2xx|200|!101/.test(expected);
}

/** Aims a case at the route, without touching what it is about. */
function aimed(raw: string, way: Way): string {
  // The collection cuts long cases off after 8 KiB; the character that they are long with goes on.
  const whole = raw.length === 8192 ? raw.padEnd(100_000, raw.at(-1)) : raw;
  const host = way === "connect" ? whole.replaceAll("localhost:8080", HOST) : whole;
  return way === "connect" ? host : host.replace(/^([A-Za-z]+) \/(?=[ ?A-Za-z])/, "$1 /header/");
}

async function opened(t: TestContext, scene: Scene, way: Way): Promise<RawConnection> {
  if (way === "origin") return connectRaw(t, scene.sidekey);
  return tunnelTo(t, scene.sidekey, { host: HOST, route: "header", client: null });
}

async function sent(t: TestContext, scene: Scene, way: Way, raw: string): Promise<RawReply> {
  const connection = await opened(t, scene, way);
  await connection.write(raw);
  const first = await connection.read(wholeResponse, 400);
  // A second answer would come right behind the first.
  const reply = first.ended === "until" ? await connection.read(undefined, 60) : first;
  connection.close();
  return reply;
}

const statuses = ({ text }: RawReply): number[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status)).filter((status) => status >= 200);

for (const way of ["origin", "connect"] as const) {
  test(`G15 clean-framing: every request that must be rejected is answered 400 or closed, and none arrives (${way})`, async (t) => {
    const corpus = corpusOrSkip(t, "http11probe.json") as Probe[] | null;
    if (!corpus) return;
    const scene = await startScene(t, { trustLoopback: true });
    const cases = corpus.filter(mustReject);
    assert.ok(cases.length >= 61, `only ${cases.length} cases`);
    const wrong: string[] = [];
    for (const { id, raw, expected } of cases) {
      const before = upstreamOf(scene, "header").requests.length;
      const reply = await sent(t, scene, way, aimed(raw, way));
      const [first, ...more] = statuses(reply);
      const incomplete = /timeout/.test(expected) && reply.ended === "timeout" && first === undefined;
      const allowed = new Set([400, REFUSED_OTHERWISE.get(id), /431/.test(expected) ? 431 : 400]);
      const refused = (first === undefined || allowed.has(first)) && reply.ended !== "timeout";
      if ((!refused && !incomplete) || more.length > 0) wrong.push(`${id}: ${first} ${reply.ended}`);
      if (upstreamOf(scene, "header").requests.length !== before) wrong.push(`${id} arrived`);
    }
    assert.deepEqual(wrong, []);
    assert.deepEqual(upstreamOf(scene, "header").problems, []);
  });

  test(`G15 clean-framing: what is accepted arrives as exactly as many well-formed requests as were answered (${way})`, async (t) => {
    const corpus = corpusOrSkip(t, "http11probe.json") as Probe[] | null;
    if (!corpus) return;
    const scene = await startScene(t, {
      trustLoopback: true,
      handler: () => ({ headers: { "x-stand-in": "1" }, body: "ok" }),
    });
    let accepted = 0;
    for (const probe of corpus.filter((one) => !mustReject(one) && !LOST.test(one.id))) {
      const before = upstreamOf(scene, "header").requests.length;
      const reply = await sent(t, scene, way, aimed(probe.raw, way));
      const answered = [...reply.text.matchAll(/x-stand-in: 1/gi)].length;
      assert.equal(upstreamOf(scene, "header").requests.length - before, answered, `${probe.id}: ${reply.text}`);
      accepted += answered;
    }
    assert.ok(accepted > 10, `only ${accepted} were accepted, so little was tried`);
    assert.deepEqual(upstreamOf(scene, "header").problems, []);
  });
}

test("G15 clean-framing: request fixtures that a parser must refuse are refused", async (t) => {
  const corpus = corpusOrSkip(t, "llhttp.json") as Fixture[] | null;
  if (!corpus) return;
  const scene = await startScene(t, {
    trustLoopback: true,
    handler: () => ({ headers: { "x-stand-in": "1" }, body: "ok" }),
  });
  const cases = corpus.filter(({ kind, error, log }) => kind === "request" && error && !/Pause on/.test(log));
  assert.ok(cases.length >= 55, `only ${cases.length} cases`);
  for (const { raw, title, file } of cases) {
    const withHost = /\r\nhost:/i.test(raw)
      ? raw.replace(/(\r\nhost:)[^\r\n]*/i, "$1 localhost")
      : raw.replace(/\r\n/, "\r\nHost: localhost\r\n");
    const before = upstreamOf(scene, "header").requests.length;
    const reply = await sent(t, scene, "origin", withHost.replace(/^([A-Za-z]+) \//, "$1 /header/"));
    const label = `${file} ${title}\n${raw}\n--\n${reply.text}`;
    const answered = [...reply.text.matchAll(/x-stand-in: 1/gi)].length;
    assert.equal(upstreamOf(scene, "header").requests.length - before, answered, label);
    const last = statuses(reply).at(-1);
    assert.ok(last === undefined || last >= 400 || reply.ended === "close", label);
  }
  assert.deepEqual(upstreamOf(scene, "header").problems, []);
});

/** Requests that Node's own parser accepts, and what each could become behind a proxy that passes them on. */
const LET_THROUGH: Readonly<Record<string, string>> = {
  "a length hidden by HTTP/0.9": "GET PATH\nHost: HOST\nContent-Length: 5\n\nhello",
  "an empty coding before chunked": "POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
  "chunked twice": "POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
  "gzip before chunked": "POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
  "chunked in HTTP/1.0": "POST PATH HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  "no coding and a length": "POST PATH HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: \r\nContent-Length: 5\r\n\r\nhello",
  "a length with a leading zero": "POST PATH HTTP/1.1\r\nHost: HOST\r\nContent-Length: 05\r\n\r\nhello",
  "two hosts": "GET PATH HTTP/1.1\r\nHost: HOST\r\nHost: evil.test\r\n\r\n",
  "the same host twice": "GET PATH HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n",
  "no host": "GET PATH HTTP/1.1\r\n\r\n",
  "userinfo in Host": "GET PATH HTTP/1.1\r\nHost: x@HOST\r\n\r\n",
  "an asterisk for GET": "GET * HTTP/1.1\r\nHost: HOST\r\n\r\n",
  "an upgrade with a body":
    "POST PATH HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 30\r\n\r\nGET /x HTTP/1.1\r\nHost: evil\r\n\r\n",
  "a body behind GET and Upgrade":
    "GET PATH HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello",
  "101 header fields": `GET PATH HTTP/1.1\r\nHost: HOST\r\n${"a: b\r\n".repeat(100)}\r\n`,
  "a length behind 2000 fields": `POST PATH HTTP/1.1\r\nHost: HOST\r\n${"a: b\r\n".repeat(2000)}Content-Length: 5\r\n\r\nhello`,
  "an underscore in a framing name": "POST PATH HTTP/1.1\r\nHost: HOST\r\nContent_Length: 5\r\n\r\n",
  "a raw byte in the target": "GET PATH\xe9 HTTP/1.1\r\nHost: HOST\r\n\r\n",
  "a fragment in the target": "GET PATH#x HTTP/1.1\r\nHost: HOST\r\n\r\n",
};

for (const way of ["origin", "connect"] as const) {
  test(`G15 clean-framing: what Node's parser lets through and two servers could read differently is refused (${way})`, async (t) => {
    const scene = await startScene(t, { trustLoopback: true });
    const [path, host] = way === "origin" ? ["/header/a", "localhost"] : ["/a", HOST];
    for (const [name, text] of Object.entries(LET_THROUGH)) {
      const reply = await sent(t, scene, way, text.replace("PATH", path).replaceAll("HOST", host));
      const [first, ...more] = statuses(reply);
      assert.ok(first === undefined || first === 400 || first === 431, `${name}: ${reply.text}`);
      assert.deepEqual(more, [], name);
      assert.equal(reply.ended, "close", `${name}: the connection stays open`);
    }
    assert.equal(upstreamOf(scene, "header").received().length, 0);
  });
}

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT", "SEARCH", "PURGE"];
const BODY = "GET /smuggled HTTP/1.1\r\nHost: evil.test\r\n\r\n";
const FRAMINGS: Readonly<Record<string, readonly [fields: string, bytes: string, body: string]>> = {
  none: ["", "", ""],
  length: [`Content-Length: ${BODY.length}\r\n`, BODY, BODY],
  zero: ["Content-Length: 0\r\n", "", ""],
  chunked: [
    "Transfer-Encoding: chunked\r\n",
    `${BODY.length.toString(16)};ext=1\r\n${BODY}\r\n0\r\nX-Trailer: 1\r\n\r\n`,
    BODY,
  ],
  "chunked, many": [
    "Transfer-Encoding: chunked\r\n",
    `${[...BODY].map((c) => `1\r\n${c}\r\n`).join("")}0\r\n\r\n`,
    BODY,
  ],
  "chunked, empty": ["Transfer-Encoding: chunked\r\n", "0\r\n\r\n", ""],
};

for (const way of ["origin", "connect"] as const) {
  test(`G15 clean-framing: every method with every framing arrives as exactly one request with its body (${way})`, async (t) => {
    const scene = await startScene(t, { trustLoopback: true });
    for (const method of METHODS) {
      for (const [name, [fields, bytes, body]] of Object.entries(FRAMINGS)) {
        const before = upstreamOf(scene, "header").requests.length;
        const connection = await opened(t, scene, way);
        const [path, host] = way === "origin" ? ["/header/a", "localhost"] : ["/a", HOST];
        await connection.write(`${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n${bytes}`);
        const reply = await connection.read((seen) => seen.includes("\r\n\r\n"));
        connection.close();
        const label = `${method} ${name}`;
        assert.match(reply.text, /^HTTP\/1\.1 200 /, label);
        const received = upstreamOf(scene, "header").requests.slice(before);
        assert.equal(received.length, 1, label);
        assert.deepEqual([received[0]?.method, received[0]?.target], [method, "/a"], label);
        assert.equal(received[0]?.body.toString("latin1"), body, label);
        assert.ok(!received[0]?.bytes.includes("X-Trailer"), `${label}: a request trailer was passed on`);
      }
    }
    await pause(50);
    assert.deepEqual(upstreamOf(scene, "header").problems, []);
  });
}
