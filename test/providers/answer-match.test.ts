import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type AnswerRule, applies, looksAtText, withoutBlanks } from "../../src/providers/answer-match.ts";

function holds(rule: AnswerRule, status: number, body: string, fields: readonly string[] | null = []): boolean {
  const has = fields === null ? null : (name: string) => fields.includes(name);
  return applies(rule, { status, bare: withoutBlanks(Buffer.from(body)), has });
}

test("a rule holds when all that it says holds, and one without a status holds for failures only", () => {
  const table: readonly [rule: AnswerRule, status: number, body: string, expected: boolean][] = [
    [{ status: 429 }, 429, "", true],
    [{ status: 429 }, 430, "", false],
    [{ match: "bad key" }, 403, "a bad key!", true],
    [{ match: "bad key" }, 200, "a bad key!", false],
    [{ match: "bad key" }, 399, "a bad key!", false],
    [{ status: 200, match: "bad key" }, 200, "a bad key!", true],
    [{ status: 200, match: "bad key" }, 200, "a Bad key!", false],
    [{ status: 200, begins: '{"error"' }, 200, '{"error": 1}', true],
    [{ status: 200, begins: '{"error"' }, 200, '{"data": [{"error": 1}]}', false],
    [{ status: 200, begins: '{"error"', match: "quota" }, 200, '{"error": "quota"}', true],
    [{ status: 200, begins: '{"error"', match: "quota" }, 200, '{"error": "other"}', false],
    [{ status: 200, begins: "longer than the body" }, 200, "long", false],
    [{ status: 200, match: "x" }, 200, "", false],
  ];
  for (const [rule, status, body, expected] of table) {
    assert.equal(holds(rule, status, body), expected, `${JSON.stringify(rule)} ${status} ${body}`);
  }
});

test("a field that must be absent has to be known to be absent", () => {
  const rule = { status: 429, absent: "retry-after" };
  assert.equal(holds(rule, 429, "", []), true);
  assert.equal(holds(rule, 429, "", ["retry-after"]), false);
  assert.equal(holds(rule, 429, "", null), false);
});

test("blanks make no difference, in the rule or in the answer", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom("a", '"', "{", ":", "ü"), minLength: 1 }),
      fc.array(fc.constantFrom(" ", "\n", "\t", "\r", "")),
      (text, blanks) => {
        const spread = [...text].map((character, index) => character + (blanks[index] ?? "")).join("");
        assert.equal(holds({ status: 200, match: spread }, 200, `x${text}x`), true);
        assert.equal(holds({ status: 200, match: text }, 200, ` x ${spread}x`), true);
        assert.equal(holds({ status: 200, begins: text }, 200, `\n${spread}x`), true);
      },
    ),
  );
});

test("which rules look at the text", () => {
  assert.equal(looksAtText({ status: 401 }), false);
  assert.equal(looksAtText({ status: 401, absent: "retry-after" }), false);
  assert.equal(looksAtText({ match: "x" }), true);
  assert.equal(looksAtText({ begins: "x" }), true);
});
