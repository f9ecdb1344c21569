import assert from "node:assert/strict";
import { test } from "node:test";
import { noticeDue } from "../../../src/daemon/monitor/expiry.ts";

const DAY = 86_400_000;

test("the notice that is due is the smallest that has been reached", () => {
  const cases: readonly (readonly [days: number, due: number | null])[] = [
    [31, null],
    [30, 30],
    [29.9, 30],
    [14.1, 30],
    [14, 14],
    [7.01, 14],
    [7, 7],
    [1.5, 7],
    [1, 1],
    [0.001, 1],
    [0, 0],
    [-400, 0],
  ];
  for (const [days, due] of cases) assert.equal(noticeDue(days * DAY), due, `${days} days`);
});
