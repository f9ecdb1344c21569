import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FairQueue, type Queued } from "../../../src/daemon/pipeline/fair-queue.ts";

let arrivals = 0;
const from = (client: string): Queued => ({ client, number: ++arrivals });

/** Serves `count` waiters. */
function serve(queue: FairQueue<Queued>, count = Number.POSITIVE_INFINITY): string[] {
  const served: string[] = [];
  for (let first = queue.first(); first !== undefined && served.length < count; first = queue.first()) {
    queue.remove(first);
    queue.tookTurn(first.client);
    served.push(first.client);
  }
  return served;
}

function queued(...clients: string[]): FairQueue<Queued> {
  const queue = new FairQueue<Queued>();
  for (const client of clients) queue.add(from(client));
  return queue;
}

test("clients take turns, in the order in which their first ones came", () => {
  assert.deepEqual(serve(queued("b", "b", "b", "a", "c", "a")), ["b", "a", "c", "b", "a", "b"]);
});

test("however many of one client wait, a newcomer is served within two turns", () => {
  for (const served of [0, 1, 2, 500]) {
    const queue = queued(...Array.from({ length: 900 }, () => "flood"));
    serve(queue, served);
    queue.add(from("new"));
    assert.ok(serve(queue, 2).includes("new"), `after ${served}`);
  }
});

test("coming back with one at a time brings no more turns than queueing", () => {
  const queue = queued("b", "b", "b", "b", "b", "b", "c", "c", "c", "c", "c", "c", "a");
  const served: string[] = [];
  for (let n = 0; n < 12; n++) {
    const [client] = serve(queue, 1);
    served.push(client ?? "");
    if (client === "a") queue.add(from("a"));
  }
  assert.equal(served.filter((client) => client === "a").length, 4, served.join());
});

test("a client that was away does not get the turns that it has missed", () => {
  const queue = queued("a", ...Array.from({ length: 20 }, () => "b"));
  serve(queue, 11);
  for (let n = 0; n < 3; n++) queue.add(from("a"));
  assert.deepEqual(serve(queue, 6), ["a", "b", "a", "b", "a", "b"]);
});

test("within a client the order is that of arrival, also for one that is put in later", () => {
  const [early, middle, late] = [from("a"), from("a"), from("a")];
  const queue = new FairQueue<Queued>();
  queue.add(late);
  queue.add(early);
  queue.add(middle);
  assert.equal(queue.first(), early);
  assert.equal(queue.sizeOf("a"), 3);
  assert.equal(queue.remove(early), true);
  assert.equal(queue.remove(early), false);
  assert.equal(queue.has(early), false);
  assert.equal(queue.has(middle), true);
  assert.equal(queue.first(), middle);
  assert.equal(queue.size, 2);
});

test("whose turn it would be is who is first once it waits, whatever has happened", () => {
  const step = fc.record({
    do: fc.constantFrom("add" as const, "add" as const, "serve" as const, "leave" as const, "pass" as const),
    client: fc.constantFrom("a", "b", "c", "d"),
    late: fc.nat(5),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const queue = new FairQueue<Queued>();
      const joined: Queued[] = [];
      for (const [n, { do: what, client, late }] of steps.entries()) {
        if (what === "serve") serve(queue, 1);
        else if (what === "pass") queue.tookTurn(client);
        else if (what === "leave") {
          const leaver = joined[late];
          if (leaver) queue.remove(leaver);
        } else {
          // Somebody who came earlier may join later, from another queue.
          const waiter = { client, number: 1000 * (n - late) + n };
          const isTurn = queue.isTurnOf(waiter);
          queue.add(waiter);
          joined.unshift(waiter);
          assert.equal(queue.first() === waiter, isTurn);
          assert.equal(queue.isTurnOf(waiter), isTurn, "also when it waits already");
        }
      }
    }),
    { numRuns: 1000, seed: 8 },
  );
});

test("while two clients wait, neither gets ahead of the other", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom("a", "b", "c", "serve", "serve"), { maxLength: 80 }), (steps) => {
      const queue = queued("a", "b");
      let turns: Record<string, number> = {};
      for (const step of steps) {
        if (step !== "serve") {
          queue.add(from(step));
          continue;
        }
        const [client] = serve(queue, 1);
        if (client !== undefined) turns[client] = (turns[client] ?? 0) + 1;
        // Who has nobody waiting is not compared: counting begins anew.
        if (queue.sizeOf("a") === 0 || queue.sizeOf("b") === 0) turns = {};
        else assert.ok(Math.abs((turns.a ?? 0) - (turns.b ?? 0)) <= 2, JSON.stringify(turns));
      }
    }),
    { numRuns: 1000, seed: 8 },
  );
});
