import assert from "node:assert/strict";
import { test } from "node:test";
import { FairTurns, type TurnQueue } from "../../../src/daemon/pipeline/fair-turns.ts";
import { turn as settled } from "../../support/fake-clock.ts";

interface Loop {
  readonly turns: FairTurns;
  /** Who has begun, in order. */
  readonly begun: string[];
  arrive(client: string): void;
  /** One round of the event loop; says how many rounds were asked for. */
  round(): Promise<number>;
}

function loop(): Loop {
  const due: (() => void)[] = [];
  const turns = new FairTurns((run) => due.push(run));
  const queues = new Map<string, TurnQueue>();
  const begun: string[] = [];
  return {
    turns,
    begun,
    arrive: (client) => {
      const queue = queues.get(client) ?? { waiting: [] };
      queues.set(client, queue);
      const waits = turns.take(queue);
      if (waits) void waits.then(() => begun.push(client));
      else begun.push(client);
    },
    round: async () => {
      const asked = due.splice(0);
      for (const run of asked) run();
      await settled();
      return asked.length;
    },
  };
}

test("eight begin at once, the others eight by eight, each in a round of the event loop", async () => {
  const { arrive, begun, round } = loop();
  for (let n = 0; n < 20; n++) arrive("a");
  assert.equal(begun.length, 8);
  assert.equal(await round(), 1);
  assert.equal(begun.length, 16);
  await round();
  assert.equal(begun.length, 20);
  assert.equal(await round(), 0, "nobody waits, so no round is asked for");
});

test("whoever comes behind a flood begins in the next round, and clients take turns in it", async () => {
  const { arrive, begun, round } = loop();
  for (let n = 0; n < 200; n++) arrive("flood");
  arrive("quiet");
  for (let n = 0; n < 3; n++) arrive("third");
  begun.length = 0;
  await round();
  assert.deepEqual(begun, ["flood", "quiet", "third", "flood", "third", "flood", "third", "flood"]);
});

test("all of one client begin in the order in which they came", async () => {
  const due: (() => void)[] = [];
  const turns = new FairTurns((run) => due.push(run));
  const queue: TurnQueue = { waiting: [] };
  const order: number[] = [];
  for (let n = 0; n < 30; n++) {
    const waits = turns.take(queue);
    if (waits) void waits.then(() => order.push(n));
    else order.push(n);
  }
  while (due.length > 0) {
    for (const run of due.splice(0)) run();
    await settled();
  }
  assert.deepEqual(
    order,
    Array.from({ length: 30 }, (_, n) => n),
  );
  assert.deepEqual(queue.waiting, []);
});

test("a burst that is over leaves nothing behind: the next eight begin at once again", async () => {
  const { arrive, begun, round } = loop();
  for (let n = 0; n < 8; n++) arrive("a");
  assert.equal(await round(), 1);
  for (let n = 0; n < 8; n++) arrive("a");
  assert.equal(begun.length, 16);
});
