import assert from "node:assert/strict";
import { test } from "node:test";
import { ALERT_KINDS, type AlertKind } from "../../src/daemon/monitor/alert-kinds.ts";
import { readPage } from "./markdown-page.ts";

interface Row {
  readonly kind: string;
  readonly severities: string;
  readonly about: string;
  readonly means: string;
  readonly next: string;
}

/** The table of alerts in the operator's page. */
const rows: readonly Row[] = [
  ...readPage("docs/OPERATING.md").matchAll(
    /^\| `([a-z_]+)` \| ((?:info|warning|critical)[^|]*) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$/gm,
  ),
].map(([, kind = "", severities = "", about = "", means = "", next = ""]) => ({
  kind,
  severities,
  about,
  means,
  next,
}));

test("every alert that sidekey can raise is in the operator's table, and no other, in the same order", () => {
  assert.deepEqual(
    rows.map(({ kind }) => kind),
    Object.keys(ALERT_KINDS),
  );
});

test("the table says of each what the code says, and what to do", () => {
  for (const { kind, severities, about, means, next } of rows) {
    const facts = ALERT_KINDS[kind as AlertKind];
    assert.equal(severities, facts.severities.join(", "), kind);
    assert.ok(about.startsWith(facts.about), `${kind}: ${about}`);
    assert.equal(means, facts.means, kind);
    assert.ok(next.length > 15, `${kind} has no next step`);
  }
});
