import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { type BudgetState, readBudgetState, writeBudgetState } from "../../src/policy/budget-state.ts";

fc.configureGlobal({ seed: 20260901 });

const STATE: BudgetState = {
  sliding: true,
  keptUs: 1000,
  latestUs: 900,
  used: [
    { atUs: -5, amount: 3 },
    { atUs: 900, amount: 4e15 },
  ],
  open: [{ atUs: 2000, amount: 7 }],
  warned: { limit: 100, levels: [{ percent: 50, atUs: 12, above: true }] },
};

test("a state is one line, and read back it is the same", () => {
  const text = writeBudgetState(STATE);
  assert.equal(
    text,
    '{"budget":1,"sliding":true,"kept":1000,"latest":900,"used":[[-5,3],[900,4000000000000000]],"open":[[2000,7]],"warned":[100,[50,12,1]]}',
  );
  assert.deepEqual(readBudgetState(text), STATE);
  const unused: BudgetState = { ...STATE, sliding: false, used: [], open: [], warned: { limit: 0, levels: [] } };
  assert.deepEqual(readBudgetState(writeBudgetState(unused)), unused);
});

test("anything else is not a state", () => {
  const written = JSON.parse(writeBudgetState(STATE));
  const changes: Readonly<Record<string, unknown>>[] = [
    { budget: 2 },
    { sliding: 1 },
    { kept: 0 },
    { kept: 1.5 },
    { latest: null },
    { latest: 1e300 },
    { latest: 899 },
    {
      used: [
        [900, 1],
        [-5, 1],
      ],
    },
    { used: [[900, -1]] },
    { used: [[900, 1, 1]] },
    { used: [[900]] },
    { used: [900] },
    { used: [["900", 1]] },
    { used: [[900, 5e15]] },
    { used: {} },
    { used: Array.from({ length: 10_001 }, () => [1, 1]) },
    { open: null },
    { open: [[1, 0.5]] },
    { warned: [] },
    { warned: [1, [101, 1, 1]] },
    { warned: [1, [50, 1, true]] },
    { warned: [1, 50] },
  ];
  for (const change of changes) {
    assert.equal(
      readBudgetState(JSON.stringify({ ...written, ...change })),
      null,
      JSON.stringify(change).slice(0, 100),
    );
  }
  for (const text of ["", "null", "[]", "7", '"budget"', "{", '{"budget":1}', '{"v":1,"count":1}']) {
    assert.equal(readBudgetState(text), null, text);
  }
});

test("no text makes reading throw", () => {
  const text = writeBudgetState(STATE);
  fc.assert(
    fc.property(fc.nat(text.length), fc.string({ maxLength: 5 }), fc.nat(5), (at, insert, cut) => {
      const state = readBudgetState(text.slice(0, at) + insert + text.slice(at + cut));
      assert.ok(state === null || state.used.every(({ amount }) => amount >= 0));
    }),
    { numRuns: 2000 },
  );
});
