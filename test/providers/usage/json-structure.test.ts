import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { JsonMembers } from "../../../src/providers/usage/json-members.ts";
import { StructureSearch } from "../../../src/providers/usage/json-structure.ts";
import { memberSet, valueAt } from "../../../src/providers/usage/member-set.ts";

const isStructure = (byte: number | undefined): boolean => '"[]{}'.includes(String.fromCharCode(byte ?? 0));

test("the next quote or bracket is found, however the chunk is walked through", () => {
  const piece = fc.constantFrom("[", "]", "{", "}", '"', "1", ", ", "-0.25", "x".repeat(50));
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 60 }),
      fc.array(fc.nat(20), { maxLength: 40 }),
      fc.nat(500),
      (pieces, steps, cut) => {
        const chunk = Buffer.from(pieces.join(""));
        const to = Math.min(cut, chunk.length);
        const search = new StructureSearch();
        let from = 0;
        for (const step of steps) {
          from = Math.min(to, from + step);
          let wanted = from;
          while (wanted < to && !isStructure(chunk[wanted])) wanted++;
          assert.equal(search.next(chunk, from, to), wanted);
        }
        search.reset();
        assert.equal(search.next(Buffer.from("12]"), 0, 3), 2);
      },
    ),
  );
});

test("what is skipped in large steps is skipped whole, split anywhere", () => {
  const set = memberSet({ usage: valueAt("usage") });
  const numbers = fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { maxLength: 40 });
  const inner = fc.oneof(numbers, fc.string({ maxLength: 80 }), fc.record({ usage: numbers, "]": fc.constant("}") }));
  fc.assert(
    fc.property(fc.array(inner, { maxLength: 6 }), fc.array(fc.nat(3000), { maxLength: 4 }), (data, cuts) => {
      const bytes = Buffer.from(JSON.stringify({ data, usage: 7 }));
      const members = new JsonMembers(set);
      let from = 0;
      for (const to of [...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length]) {
        members.write(bytes, from, to);
        from = to;
      }
      assert.deepEqual([members.complete, members.value("usage")?.toString()], [true, "7"]);
      members.settle();
      assert.equal(members.value("usage")?.toString(), "7");
    }),
    { numRuns: 500 },
  );
});
