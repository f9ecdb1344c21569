import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { type TestContext, test } from "node:test";
import { RequestBody } from "../../../src/daemon/ingress/request-body.ts";
import { type Paced, SlowClients } from "../../../src/daemon/ingress/slow-clients.ts";

const ALLOWED_MS = 30_000;

class Client implements Paced {
  pending = 0;
  handed = 0;
  requestBody: RequestBody | null = null;
  hungUp = false;

  hangUp(): void {
    this.hungUp = true;
  }

  give(bytes: number): void {
    this.pending += bytes;
    this.handed += bytes;
  }
}

interface Watch {
  readonly exchanges: SlowClients;
  readonly cuts: string[];
  /** Seconds pass, and it is looked each second. */
  pass(seconds: number, eachSecond?: () => void): void;
}

function watch(t: TestContext): Watch {
  let nowMs = 1_000;
  const cuts: string[] = [];
  const exchanges = new SlowClients({
    allowedMs: ALLOWED_MS,
    now: () => nowMs,
    hungUp: () => cuts.push("slow_reader"),
  });
  t.after(() => exchanges.close());
  return {
    exchanges,
    cuts,
    pass: (seconds, eachSecond = () => {}) => {
      for (let n = 0; n < seconds; n++) {
        nowMs += 1_000;
        eachSecond();
        exchanges.look();
      }
    },
  };
}

test("a client that reads nothing is cut after the time allowed and what its bytes may take", (t) => {
  const { exchanges, cuts, pass } = watch(t);
  const client = new Client();
  exchanges.begin(client);
  client.give(32 * 1024);
  pass(61);
  assert.deepEqual(cuts, []);
  pass(1);
  assert.deepEqual([cuts, client.hungUp], [["slow_reader"], true]);
});

test("a byte now and then does not help, a kilobyte a second does, whatever was read before", (t) => {
  const { exchanges, cuts, pass } = watch(t);
  const [trickle, modest] = [new Client(), new Client()];
  for (const client of [trickle, modest]) {
    exchanges.begin(client);
    client.give(16_384);
  }
  const take = (client: Client, bytes: number): void => {
    client.pending -= bytes;
    client.give(bytes);
  };
  // Both were fast for an hour, always with something pending.
  pass(3_600, () => {
    take(trickle, 1_000_000);
    take(modest, 1_000_000);
  });
  pass(200, () => {
    take(trickle, 1);
    take(modest, 1_200);
  });
  assert.deepEqual([trickle.hungUp, modest.hungUp, new Set(cuts)], [true, false, new Set(["slow_reader"])]);
});

test("a slow but steady reader of one large piece is left alone while it could be reading", (t) => {
  const { exchanges, cuts, pass } = watch(t);
  const client = new Client();
  exchanges.begin(client);
  client.give(1024 * 1024);
  // Nothing can be seen of it until the whole piece is gone.
  pass(600);
  client.pending = 0;
  pass(60);
  assert.deepEqual(cuts, []);
});

test("a stream that idles because its provider does is never slow", (t) => {
  const { exchanges, cuts, pass } = watch(t);
  const client = new Client();
  exchanges.begin(client);
  pass(100_000, () => {
    client.handed += 20;
  });
  assert.deepEqual(cuts, []);
});

test("a body that trickles is cut; one that pauses less than the time allowed is not", (t) => {
  const { exchanges, pass } = watch(t);
  const [slow, pausing] = [new Client(), new Client()];
  for (const client of [slow, pausing]) {
    client.requestBody = new RequestBody(new PassThrough());
    client.requestBody.received = 5_000_000;
    exchanges.begin(client);
  }
  let second = 0;
  pass(120, () => {
    second++;
    const [slowBody, pausingBody] = [slow.requestBody, pausing.requestBody];
    if (slowBody) slowBody.received += 30;
    if (pausingBody && second % 25 === 0) pausingBody.received += 2_000;
  });
  assert.deepEqual([slow.requestBody?.destroyed, pausing.requestBody?.destroyed], [true, false]);
  assert.equal(slow.hungUp, false, "it gets an answer");
});

test("a body that nobody reads is not the client's fault, however long that takes", async (t) => {
  const { exchanges, cuts, pass } = watch(t);
  const client = new Client();
  const source = new PassThrough();
  client.requestBody = new RequestBody(source);
  exchanges.begin(client);
  source.write(Buffer.alloc(200_000));
  while (client.requestBody.waiting) await new Promise((resolve) => setImmediate(resolve));
  pass(1_000);
  assert.deepEqual([cuts, client.requestBody.destroyed], [[], false]);
});

test("exchanges end in any order, and only those that are open are looked at", (t) => {
  const { exchanges, cuts, pass } = watch(t);
  const clients = Array.from({ length: 20 }, () => new Client());
  const open = clients.map((client) => exchanges.begin(client));
  for (const client of clients) client.give(1);
  for (const n of [0, 19, 7, 8, 3, 18]) exchanges.end(open[n] as (typeof open)[number]);
  assert.equal(exchanges.size, 14);
  pass(40);
  assert.equal(clients.filter(({ hungUp }) => hungUp).length, 14);
  assert.ok(cuts.length >= 14);
  for (const n of [1, 2, 4, 5, 6, 9, 10, 11, 12, 13, 14, 15, 16, 17]) exchanges.end(open[n] as (typeof open)[number]);
  assert.equal(exchanges.size, 0);
});
