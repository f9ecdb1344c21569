import assert from "node:assert/strict";
import { test } from "node:test";
import { machineSources, tunedCost } from "../../../src/store/wrappers/passphrase-cost.ts";
import type { PassphraseCost } from "../../../src/store/wrappers.ts";

const MIB = 1024 * 1024;
const PLENTY = 64 * 1024 * MIB;

/** A machine that needs so many ms for one pass over one MiB. */
function machine(msPerMib: number, availableBytes = PLENTY) {
  const time = ({ passes, memoryBytes }: PassphraseCost): number => (passes * memoryBytes * msPerMib) / MIB;
  return { measure: async (cost: PassphraseCost) => time(cost), availableBytes, time };
}

test("the cost takes about half a second on slow, usual and fast machines, within its bounds", async () => {
  for (const msPerMib of [0.05, 0.2, 0.4, 0.65, 1, 2]) {
    const one = machine(msPerMib);
    const cost = await tunedCost(one);
    const ms = one.time(cost);
    assert.ok(ms > 350 && ms <= 500, `${msPerMib}: ${ms} ms for ${JSON.stringify(cost)}`);
    assert.ok(cost.passes >= 3 && cost.memoryBytes >= 64 * MIB && cost.memoryBytes <= 1024 * MIB);
  }
});

test("a very slow machine still gets 3 passes over 64 MiB, a very fast one at most 1 GiB and 64 passes", async () => {
  assert.deepEqual(await tunedCost(machine(100)), { passes: 3, memoryBytes: 64 * MIB });
  assert.deepEqual(await tunedCost(machine(0.0001)), { passes: 64, memoryBytes: 1024 * MIB });
});

test("no more than a quarter of the memory at hand is used; passes make up for it", async () => {
  const { passes, memoryBytes } = await tunedCost(machine(0.4, 512 * MIB));
  assert.equal(memoryBytes, 128 * MIB);
  assert.equal(passes, 9);
  assert.equal((await tunedCost(machine(0.4, 16 * MIB))).memoryBytes, 64 * MIB);
});

test("a measurement that other work made longer does not make the cost smaller", async () => {
  const quiet = machine(0.4);
  let count = 0;
  const measure = async (cost: PassphraseCost): Promise<number> => quiet.time(cost) * (count++ === 0 ? 10 : 1);
  assert.deepEqual(await tunedCost({ ...quiet, measure }), await tunedCost(quiet));
});

test("this machine is measured with the clock that is given", async () => {
  let now = 0;
  const { measure, availableBytes } = machineSources(() => {
    now += 250;
    return now;
  });
  assert.equal(await measure({ passes: 1, memoryBytes: 8192 }), 250);
  assert.ok(availableBytes > 0);
});
