import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { JsonMembers, MAX_CAPTURE_BYTES } from "../../../src/providers/usage/json-members.ts";
import {
  countAt,
  countOf,
  EACH,
  type MemberSet,
  memberSet,
  OTHER,
  sizeAt,
  valueAt,
} from "../../../src/providers/usage/member-set.ts";

const PATHS = memberSet({
  usage: valueAt("usage"),
  model: valueAt("model"),
  nested: valueAt("response", "usage"),
  each: valueAt(EACH, "usageMetadata"),
  text: sizeAt("choices", EACH, "delta", "content"),
  items: countAt("choices", EACH),
  calls: countOf("web_search_call", "output", EACH, "type"),
  unknown: countAt(OTHER),
});
type Name = "usage" | "model" | "nested" | "each" | "text" | "items" | "calls" | "unknown";

interface Read {
  readonly values: Readonly<Record<string, string | null>>;
  readonly numbers: readonly number[];
  readonly state: readonly boolean[];
}

function read(bytes: Buffer, splits: readonly number[] = [], set: MemberSet<Name> = PATHS): Read {
  const members = new JsonMembers(set);
  let from = 0;
  for (const to of [...splits, bytes.length]) {
    members.write(Buffer.from(bytes.subarray(from, to)));
    from = to;
  }
  return result(members);
}

function result(members: JsonMembers<Name>): Read {
  const values: Record<string, string | null> = {};
  for (const name of ["usage", "model", "nested", "each"] as const) {
    values[name] = members.value(name)?.toString() ?? null;
  }
  const numbers = [members.size("text"), members.count("items"), members.count("calls"), members.count("unknown")];
  return { values, numbers, state: [members.complete, members.broken, members.doubtful] };
}

const usageOf = (json: string): string | null => read(Buffer.from(json)).values.usage ?? null;

describe("members of a JSON document", () => {
  test("are read at their path and nowhere else", () => {
    assert.equal(usageOf('{"usage":{"a":1}}'), '{"a":1}');
    assert.equal(usageOf('{"choices":[{"usage":{"a":1}}],"x":{"usage":2}}'), null);
    assert.equal(usageOf('{"text":"\\"usage\\":{\\"a\\":9}, \\\\","usage":7}'), "7");
    assert.equal(usageOf('[{"usage":1}]'), null);
    assert.equal(usageOf('{"usage ":1,"Usage":2,"usag":3,"usages":4}'), null);
    assert.equal(usageOf('{"a":{"response":{"usage":1}},"response":[{"usage":2}]}'), null);
    const nested = read(Buffer.from('{"response":{"id":"x","usage":{"t":[1,{"usage":2}]}},"usageMetadata":1}'));
    assert.equal(nested.values.nested, '{"t":[1,{"usage":2}]}');
    assert.equal(nested.values.each, null);
    assert.equal(
      read(Buffer.from('[{"usageMetadata":1},[{"usageMetadata":5}],{"usageMetadata":2},3]')).values.each,
      "2",
    );
  });

  test("are known by their name however it is written", () => {
    assert.equal(usageOf('{"\\u0075sage":1}'), "1");
    assert.equal(usageOf('{"\\u0075\\u0073\\u0061\\u0067\\u0065":1}'), "1");
    assert.equal(usageOf('{"us\\x61ge":1,"usage":2}'), "2");
    assert.equal(usageOf(`{"${"u".repeat(5000)}":1,"usage":2}`), "2");
  });

  test("the last one of a name wins, and it is noticed that it came twice", () => {
    assert.equal(usageOf('{"usage":1,"usage":2}'), "2");
    const shadowed = read(Buffer.from('{"response":{"usage":1},"response":{"id":2}}'));
    assert.equal(shadowed.values.nested, null);
    assert.equal(shadowed.state[2], true);
    assert.equal(read(Buffer.from('[{"usageMetadata":1},{"usageMetadata":1}]')).state[2], false);
    assert.equal(read(Buffer.from('{"x":1,"x":2,"usage":3}')).state[2], false);
  });

  test("sizes and numbers of values are summed, a text that is still open included", () => {
    const whole =
      '{"choices":[{"delta":{"content":"abc"}},{"delta":{"content":"d\\"é"}}],"output":[{"type":"web_search_call"},{"type":"x"}]}';
    assert.deepEqual(read(Buffer.from(whole)).numbers, [8, 2, 1, 0]);
    assert.deepEqual(read(Buffer.from('{"choices":[{"delta":{"content":"abcd')).numbers, [4, 0, 0, 0]);
    assert.deepEqual(read(Buffer.from('{"choices":[{"delta":{"content":"')).numbers, [0, 0, 0, 0]);
    assert.deepEqual(read(Buffer.from('{"a":1,"b":[],"usage":1,"model":null}')).numbers, [0, 0, 0, 2]);
  });

  test("what is too long is not kept, and what follows is still read", () => {
    const big = `"${"x".repeat(MAX_CAPTURE_BYTES)}"`;
    for (const splits of [[], [20], [10, 5000, 9000, 16_000]]) {
      const { values } = read(Buffer.from(`{"usage":${big},"model":"m"}`), splits);
      assert.deepEqual([values.usage, values.model], [null, '"m"']);
    }
    assert.equal(usageOf(`{"usage":1,"usage":${big}}`), null);
    assert.equal(usageOf(`{"usage":"${"x".repeat(MAX_CAPTURE_BYTES - 2)}"}`)?.length, MAX_CAPTURE_BYTES);
  });

  test("what is not JSON ends the reading; what was complete stays", () => {
    for (const rest of ["]", "}}", '"', "{", ',"b" 1}', ',"b":1,}x', ",1}", ';"b":1}', ',"a":[}', ',"a":{]}']) {
      const { values, state } = read(Buffer.from(`{"usage":5,"model":"m"${rest},"usage":6}`));
      assert.deepEqual([values.model, values.usage], ['"m"', "5"], rest);
      assert.equal(state[0] && !state[1] && rest !== "}}", false, rest);
    }
    for (const text of ["", " ", "nonsense", "<html>", "}", ",", '"', ":", "\u0000", '{"usage":', '{"usage":1']) {
      assert.equal(usageOf(text), null, text);
    }
    assert.equal(read(Buffer.from(`{"x":${"[".repeat(100_000)}`)).state[1], true);
  });

  test("a document ends where it ends, and another one can follow", () => {
    const members = new JsonMembers(PATHS);
    const lines = Buffer.from('{"usage":1,"usage":2}\n{"model":"m"}');
    const end = members.write(lines);
    assert.equal(end, 21);
    assert.deepEqual([members.complete, members.doubtful], [true, true]);
    members.reset();
    assert.equal(members.write(lines, end), lines.length);
    assert.deepEqual(result(members).values, { usage: null, model: '"m"', nested: null, each: null });
    assert.equal(members.doubtful, false);
  });
});

/** Names that the paths know come often, so that they are met at every depth. */
const name = fc.oneof(
  fc.constantFrom("usage", "model", "response", "choices", "delta", "content", "output"),
  fc.string(),
);
const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    fc.oneof(fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean(), fc.constant(null)),
    fc.string({ unit: "binary", maxLength: 60 }),
    fc.array(tie("tree"), { maxLength: 4 }),
    fc.dictionary(name, tie("tree"), { maxKeys: 5 }),
  ),
}));
const style = fc.constantFrom(undefined, 1, "\t", "\r\n ");

function expected(document: unknown): (string | null)[] {
  const at = (value: unknown, step: string): unknown =>
    typeof value === "object" && value !== null && !Array.isArray(value) && Object.hasOwn(value, step)
      ? (value as Record<string, unknown>)[step]
      : undefined;
  const response = at(document, "response");
  return [at(document, "usage"), at(document, "model"), at(response, "usage")].map(
    (value) => JSON.stringify(value) ?? null,
  );
}

const compact = (raw: string | null | undefined): string | null => (raw ? JSON.stringify(JSON.parse(raw)) : null);

describe("for every document", () => {
  test("the members are those that JSON.parse finds, split anywhere", () => {
    fc.assert(
      fc.property(tree, style, fc.array(fc.nat(400), { maxLength: 6 }), (document, indent, cuts) => {
        const bytes = Buffer.from(JSON.stringify(document, null, indent) ?? "null");
        const splits = cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b);
        const { values, state } = read(bytes, splits);
        const wanted = expected(JSON.parse(bytes.toString()));
        assert.deepEqual([values.usage, values.model, values.nested].map(compact), wanted);
        assert.equal(state[1], false);
      }),
      { numRuns: 400 },
    );
  });

  test("the way it is split makes no difference", () => {
    const json =
      '{"a":{"usage":[1,"\\\\\\"]}"]},"choices":[{"delta":{"content":"long text, long enough \\" for \\\\"}}],\r\n "usage" : {"x":"é\\ud83d\\ude00"},"response":{"usage":-1.5e3}}';
    const bytes = Buffer.from(json);
    const whole = read(bytes);
    assert.equal(whole.values.usage, '{"x":"é\\ud83d\\ude00"}');
    assert.equal(whole.values.nested, "-1.5e3");
    for (let cut = 0; cut <= bytes.length; cut++) assert.deepEqual(read(bytes, [cut]), whole, `split at ${cut}`);
    assert.deepEqual(
      read(
        bytes,
        Array.from(bytes, (_, at) => at),
      ),
      whole,
    );
  });

  test("whatever the bytes are, it never throws, and a captured value is whole", () => {
    const pieces = fc.constantFrom(
      '"',
      "\\",
      "{",
      "}",
      "[",
      "]",
      ":",
      ",",
      '"usage"',
      "1",
      " ",
      "\n",
      '"response"',
      "tru",
      "\u00ff",
    );
    const hostile = fc.oneof(
      fc.array(pieces, { maxLength: 60 }).map((all) => Buffer.from(all.join(""))),
      fc.uint8Array({ maxLength: 80 }).map((all) => Buffer.from(all)),
    );
    fc.assert(
      fc.property(hostile, fc.array(fc.nat(80), { maxLength: 4 }), (bytes, cuts) => {
        const splits = cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b);
        const whole = read(bytes);
        assert.deepEqual(read(bytes, splits), whole);
        const text = bytes.toString();
        for (const value of Object.values(whole.values)) assert.ok(value === null || text.includes(value));
      }),
      { numRuns: 2000 },
    );
  });
});
