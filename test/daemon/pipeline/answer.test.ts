import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { Answer, type AnswerRules, type Judge } from "../../../src/daemon/pipeline/answer.ts";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import type { Fields } from "../../../src/daemon/pipeline/exchange.ts";
import { Needles } from "../../../src/daemon/pipeline/needles.ts";
import { replacementFor } from "../../../src/daemon/pipeline/scrub.ts";
import { formsOf } from "../../../src/daemon/pipeline/secret-forms.ts";
import { RecordingDownstream } from "./recording-downstream.ts";

const KEY = "sk-live-0123456789";

/** A client that reads as slowly as the test wants. */
class Client extends RecordingDownstream {
  fields: Fields = [];
  full = false;
  resume: () => void = () => {};

  override sendHead(status: number, reason: string, fields: Fields, reuse: boolean): void {
    this.fields = fields;
    super.sendHead(status, reason, ["Sidekey-Error", ""], reuse);
  }

  override write(chunk: Buffer): boolean {
    super.write(Buffer.from(chunk));
    return !this.full;
  }

  override onDrain(resume?: () => void): void {
    this.resume = resume ?? this.resume;
  }

  text(): string {
    return Buffer.concat(this.body).toString();
  }
}

interface Scene {
  readonly answer: Answer;
  readonly client: Client;
  /** What the answer asked of its connection. */
  readonly source: string[];
  start(status: number, ...fields: string[]): void;
  end(): Promise<void>;
}

function scene(changes: Partial<AnswerRules> = {}): Scene {
  const client = new Client();
  const source: string[] = [];
  const rules: AnswerRules = {
    method: "GET",
    route: "r",
    response: { stripCookies: true, stripAuthenticate: true },
    scrub: { needles: new Needles(formsOf(Buffer.from(KEY))), replacement: replacementFor("m") },
    minted: null,
    mustEncode: null,
    began: () => {},
    tap: () => null,
    hide: () => null,
    judge: null,
    ownFields: () => [],
    ...changes,
  };
  const answer = new Answer(rules, client, {
    pause: () => source.push("pause"),
    resume: () => source.push("resume"),
    fail: (error) => source.push(`fail ${error.reason}`),
    refused: () => source.push("refused"),
  });
  return {
    answer,
    client,
    source,
    start: (status, ...fields) =>
      answer.start(
        status,
        "",
        fields.map((text) => Buffer.from(text)),
      ),
    end: () => new Promise((resolve) => answer.end(null, resolve)),
  };
}

test("a short answer in pieces that have all arrived keeps its length; one that is late passes in chunks", async () => {
  const quick = scene();
  quick.start(200, "Content-Length", String(KEY.length + 2));
  quick.answer.data(Buffer.from(`"${KEY.slice(0, 5)}`));
  assert.deepEqual(quick.client.calls, []);
  quick.answer.data(Buffer.from(`${KEY.slice(5)}"`));
  await quick.end();
  assert.deepEqual(quick.client.fields, ["Content-Length", "13"]);
  assert.equal(quick.client.text(), '"[sidekey:m]"');

  const late = scene();
  late.start(200, "Content-Length", "10");
  await nextTurn();
  assert.deepEqual(late.client.calls, ["head 200  keep"]);
  late.answer.data(Buffer.from("0123456789"));
  await late.end();
  assert.deepEqual(late.client.fields, []);
});

test("a stream's head leaves with its first bytes, or at once when there are none yet", async () => {
  const { start, answer, client } = scene();
  start(200, "Content-Type", "text/event-stream");
  answer.data(Buffer.from("data: 1\n\n"));
  assert.deepEqual([client.calls, client.text()], [["head 200  keep"], "data: 1\n\n"]);
  const silent = scene();
  silent.start(200, "Content-Type", "text/event-stream");
  await nextTurn();
  assert.deepEqual(silent.client.calls, ["head 200  keep"]);
});

test("a slow client pauses the source once, and the source goes on when it has read", async () => {
  const { start, answer, client, source } = scene();
  start(200);
  client.full = true;
  answer.data(Buffer.from("first"));
  assert.deepEqual(source, ["pause"]);
  answer.data(Buffer.from("second"));
  assert.deepEqual(source, ["pause"]);
  client.full = false;
  client.resume();
  answer.data(Buffer.from("third"));
  assert.deepEqual(source, ["pause", "resume"]);
  assert.equal(client.text(), "firstsecondthird");
});

const judgeOf = (accepts: (body: string) => boolean, needsBody = true): Judge => ({
  needsBody: () => needsBody,
  accepts: (_head, body) => accepts(body?.toString() ?? ""),
});

test("an answer that is judged by its body waits for it, and passes whole when it is accepted", async () => {
  for (const [fields, pieces] of [
    [["Content-Length", "8"], ["it is ok"]],
    [[], ["it ", "is ok"]],
  ] as const) {
    let seen = "";
    const judged = scene({
      judge: judgeOf((body) => {
        seen = body;
        return true;
      }),
    });
    judged.start(401, ...fields);
    for (const piece of pieces) judged.answer.data(Buffer.from(piece));
    await judged.end();
    assert.equal(seen, "it is ok");
    assert.deepEqual([judged.client.text(), judged.answer.refused], ["it is ok", false]);
  }
});

test("nothing of a refused answer goes to the client, compressed or not, however it comes", async () => {
  const body = Buffer.from('{"error":"rate limit"}');
  const judge = judgeOf((seen) => !seen.includes("rate limit"));
  for (const [fields, bytes] of [
    [[], body],
    [["Content-Encoding", "gzip"], gzipSync(body)],
  ] as const) {
    for (const pieces of [[bytes], [bytes.subarray(0, 9), bytes.subarray(9)]]) {
      const { start, answer, client, end } = scene({ judge });
      start(429, ...fields);
      for (const piece of pieces) answer.data(Buffer.from(piece));
      void end();
      assert.ok(answer.refused);
      assert.deepEqual([client.calls, client.body], [[], []]);
    }
  }
  const byHead = scene({ judge: judgeOf(() => false, false) });
  byHead.start(429, "Content-Length", "5");
  byHead.answer.data(Buffer.from("later"));
  assert.ok(byHead.answer.refused && byHead.client.calls.length === 0);
});

test("a judge sees no more than the beginning, and then the answer passes as it comes", async () => {
  let length = 0;
  const { start, answer, client, end } = scene({
    judge: judgeOf((body) => {
      length = body.length;
      return true;
    }),
  });
  start(500);
  for (let n = 0; n < 100; n++) answer.data(Buffer.alloc(1000, "x"));
  await end();
  assert.ok(length > 0 && length <= 16 * 1024, String(length));
  assert.equal(client.text().length, 100_000);
});

test("a judge that waits is answered in the end, whatever the provider does", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { start, answer, client } = scene({ judge: judgeOf(() => true) });
  start(500);
  answer.data(Buffer.from("half"));
  assert.deepEqual(client.calls, []);
  t.mock.timers.tick(1_001);
  assert.equal(client.text(), "half");
  const refusing = scene({ judge: judgeOf(() => false) });
  refusing.start(500);
  t.mock.timers.tick(1_001);
  assert.deepEqual([refusing.client.calls, refusing.source], [[], ["refused"]]);
});

test("the tap sees what the client gets, and the key is not in it", async () => {
  const seen: string[] = [];
  const { start, answer, end } = scene({ tap: () => ({ data: (chunk) => seen.push(chunk.toString()) }) });
  start(200);
  answer.data(Buffer.from(`a ${KEY.slice(0, 4)}`));
  answer.data(Buffer.from(`${KEY.slice(4)} b`));
  await end();
  assert.equal(seen.join(""), "a [sidekey:m] b");
  assert.equal(answer.scrubbed, 1);
});

test("an answer that nobody looks at passes in its own coding and with its own length", async () => {
  const packed = gzipSync("text");
  const { start, answer, client, end } = scene({ scrub: null });
  start(200, "Content-Encoding", "gzip", "Content-Length", String(packed.length));
  answer.data(packed);
  await end();
  assert.deepEqual(client.fields, ["Content-Encoding", "gzip", "Content-Length", String(packed.length)]);
  assert.ok(Buffer.concat(client.body).equals(packed));
});

test("HEAD, 204 and 304 end with their head, whatever they announce", async () => {
  for (const [status, method, expected] of [
    [200, "HEAD", ["Content-Length", "10"]],
    [204, "GET", []],
    [304, "GET", ["Content-Length", "10"]],
  ] as const) {
    const { start, client, end } = scene({ method });
    start(status, "Content-Length", "10");
    assert.deepEqual(client.calls, [`head ${status}  keep`]);
    await end();
    assert.deepEqual(client.fields, expected);
  }
});

test("once its secrets have been wiped an answer is cut instead of passed unsearched", () => {
  const needles = new Needles(formsOf(Buffer.from(KEY)));
  const { start, answer } = scene({ scrub: { needles, replacement: replacementFor("m") } });
  start(200);
  answer.data(Buffer.from("first "));
  needles.wipe();
  assert.throws(() => answer.data(Buffer.from(KEY)), /wiped/);
});

test("a coding that cannot be read fails before anything is sent", async () => {
  const { start, answer, client } = scene();
  start(200, "Content-Encoding", "compress");
  assert.throws(
    () => answer.data(Buffer.from("x")),
    (error) => error instanceof ProxyError && error.reason === "coding_unknown",
  );
  assert.deepEqual(client.calls, []);
  const silent = scene();
  silent.start(200, "Content-Encoding", "compress");
  await nextTurn();
  assert.deepEqual([silent.client.calls, silent.source], [[], ["fail coding_unknown"]]);
});
