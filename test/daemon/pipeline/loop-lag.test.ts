import assert from "node:assert/strict";
import { test } from "node:test";
import { watchLoopLag } from "../../../src/daemon/pipeline/loop-lag.ts";

const PERIOD_MS = 5;

/** Keeps the event loop from doing anything. */
function block(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

test("tells by how much the event loop is late, never less than nothing, and stops when closed", async () => {
  const told: number[] = [];
  const watch = watchLoopLag(PERIOD_MS, (lateMs) => told.push(lateMs));
  const until = (enough: () => boolean) =>
    new Promise<void>((resolve) => {
      const look = (): void => void (enough() ? resolve() : setImmediate(look));
      look();
    });
  await until(() => told.length >= 2);
  const before = told.length;
  block(60);
  await until(() => told.length > before);
  assert.ok((told[before] ?? 0) >= 50, `blocked for 60 ms, told ${told[before]}`);
  assert.ok(told.every((lateMs) => lateMs >= 0));
  watch.close();
  const after = told.length;
  block(PERIOD_MS * 3);
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  assert.equal(told.length, after);
});
