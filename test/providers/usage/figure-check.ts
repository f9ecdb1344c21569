import assert from "node:assert/strict";
import { UNITS, type UsageFigure } from "../../../src/providers/usage/usage.ts";

/** What holds for every figure, whatever an answer claimed. */
export function assertSane(figure: UsageFigure): void {
  assert.ok(["exact", "estimated", "none"].includes(figure.quality));
  assert.equal(figure.units.request, 1);
  for (const [unit, count] of Object.entries(figure.units)) {
    assert.ok((UNITS as readonly string[]).includes(unit), unit);
    assert.ok(Number.isInteger(count) && count > 0 && count <= 1e12, `${unit}: ${count}`);
  }
  if (figure.charged !== null)
    assert.ok(Number.isInteger(figure.charged) && figure.charged >= 0 && figure.charged <= 2e15);
  if (figure.model !== null) assert.match(figure.model, /^[\x21-\x7e]{1,128}$/);
  if (figure.tier !== null) assert.match(figure.tier, /^[a-z][a-z0-9_-]{0,31}$/);
  if (figure.failure !== null) assert.match(figure.failure, /^[\x20-\x7e]{1,200}$/);
}
