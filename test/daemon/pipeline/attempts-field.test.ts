import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type AttemptNote, attemptsField } from "../../../src/daemon/pipeline/attempts-field.ts";

const ok = (credential: string | null, version = 1): AttemptNote => ({
  credential,
  version,
  status: 200,
  meaning: "ok",
});

test("each try is an item: who, which version, which status, and what was made of it", () => {
  const tries: AttemptNote[] = [
    { credential: "openai-main", version: 3, status: 429, meaning: "limited" },
    { credential: "openai-main", version: 3, status: null, meaning: "connect" },
    ok("openai-spare"),
  ];
  assert.equal(
    attemptsField(tries),
    "openai-main;v=3;s=429;m=limited, openai-main;v=3;m=connect, openai-spare;v=1;s=200",
  );
  assert.equal(attemptsField([]), "");
  assert.equal(attemptsField([ok(null)]), "none;s=200");
});

test("a name that is no token is a string, and nothing gets out of it", () => {
  assert.equal(attemptsField([ok("7eleven")]), '"7eleven";v=1;s=200');
  assert.equal(attemptsField([ok("a.b_c-9")]), "a.b_c-9;v=1;s=200");
  assert.equal(attemptsField([ok('x"\\\r\ny: z')]), '"x\\"\\\\??y: z";v=1;s=200');
});

/** RFC 9651: sf-list of items whose bare item is a token or string, with integer and token parameters. */
const LIST =
  /^(?:(?:[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*|"(?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*")(?:;v=\d+)?(?:;s=\d{1,3})?(?:;m=[a-z]+)?(?:, |$))+$/;

test("whatever the names are, the value is a valid list of bounded length", () => {
  const note = fc.record({
    credential: fc.oneof(fc.string({ maxLength: 64 }), fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,63}$/)),
    version: fc.integer({ min: 1, max: 2_147_483_647 }),
    status: fc.option(fc.integer({ min: 100, max: 599 })),
    meaning: fc.constantFrom("ok", "limited", "connect", "unavailable"),
  }) as fc.Arbitrary<AttemptNote>;
  fc.assert(
    fc.property(fc.array(note, { minLength: 1, maxLength: 40 }), (notes) => {
      const value = attemptsField(notes);
      assert.match(value, LIST);
      assert.ok(value.length <= 8 * 170, String(value.length));
    }),
  );
});
