import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { GrantRing } from "../../src/policy/grant-ring.ts";

fc.configureGlobal({ seed: 20260901 });

test("a ring behaves like a sorted array, however it has wrapped and grown", () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant("push" as const), by: fc.nat(3) }),
    fc.record({ do: fc.constant("shift" as const), by: fc.constant(0) }),
    fc.record({ do: fc.constant("remove" as const), by: fc.nat(40) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const ring = new GrantRing();
      const model: number[] = [];
      let newest = 0;
      for (const { do: what, by } of steps) {
        if (what === "push") {
          newest += by;
          ring.push(newest);
          model.push(newest);
        } else if (what === "shift") {
          if (model.length > 0) assert.equal(ring.shift(), model.shift());
        } else {
          const index = model.lastIndexOf(by);
          assert.equal(ring.remove(by), index !== -1);
          if (index !== -1) model.splice(index, 1);
        }
        assert.deepEqual(ring.toArray(), model);
        assert.equal(ring.countUpTo(by), model.filter((time) => time <= by).length);
      }
    }),
  );
});

test("asking for a grant that is not there is a mistake", () => {
  assert.throws(() => new GrantRing().at(0), /no such grant/);
  assert.throws(() => new GrantRing().shift(), /no such grant/);
});
