import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { hideAsked, MAX_HELD_BYTES } from "../../../src/providers/usage/hide-asked.ts";

function filtered(bytes: Buffer, splits: readonly number[] = []): string {
  const filter = hideAsked();
  const parts: Buffer[] = [];
  let from = 0;
  for (const to of [...splits, bytes.length]) {
    parts.push(Buffer.from(filter.data(Buffer.from(bytes.subarray(from, to)))));
    from = to;
  }
  return Buffer.concat([...parts, filter.end()]).toString("latin1");
}

/** A stream as Azure and OpenAI send it, with usage and as it would have been without asking. */
function chat(usageLast: boolean, end: string): { asked: string; plain: string } {
  const chunk = (content: string, finish: string, asked: boolean): string => {
    const head = `{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-5-mini","choices":[{"index":0,"delta":{"content":${content}},"finish_reason":${finish}}]`;
    const usage = asked ? ',"usage":null' : "";
    return usageLast ? `data: ${head},"obfuscation":"abc"${usage}}` : `data: ${head}${usage},"obfuscation":"abc"}`;
  };
  const fake = JSON.stringify('"usage":null,"choices":[],"usage":{"total_tokens":1}}');
  const filterResults =
    'data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0}]}';
  const last =
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[],"obfuscation":"x","usage":{"prompt_tokens":19,"completion_tokens":76,"total_tokens":95,"prompt_tokens_details":{"cached_tokens":0}}}';
  const events = (asked: boolean): string[] => [
    filterResults,
    ": keep-alive",
    chunk('"Ol\u00e1"', "null", asked),
    chunk(fake, "null", asked),
    "event: x\nid: 1\ndata: [1,2]",
    chunk('""', '"stop"', asked),
    ...(asked ? [last] : []),
    "data: [DONE]",
  ];
  const join = (all: readonly string[]): string =>
    all
      .map((event) => `${event}\n\n`)
      .join("")
      .replaceAll("\n", end);
  return { asked: join(events(true)), plain: join(events(false)) };
}

describe("usage that was asked for", () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    for (const usageLast of [true, false]) {
      test(`leaves the stream as it would have been, split at every byte (${JSON.stringify(end)}, ${usageLast})`, () => {
        const { asked, plain } = chat(usageLast, end);
        const bytes = Buffer.from(asked, "latin1");
        assert.notEqual(asked, plain);
        for (let cut = 0; cut <= bytes.length; cut++) assert.equal(filtered(bytes, [cut]), plain, `cut at ${cut}`);
        assert.equal(
          filtered(
            bytes,
            Array.from(bytes, (_, at) => at),
          ),
          plain,
        );
      });
    }
  }

  test("an event passes in the call that brings its last byte", () => {
    const { asked, plain } = chat(true, "\r\n");
    const filter = hideAsked();
    let passed = "";
    let complete = 0;
    for (const byte of Buffer.from(asked, "latin1")) {
      passed += filter.data(Buffer.from([byte])).toString("latin1");
      if (!passed.endsWith("\r\n\r\n")) continue;
      complete = passed.length;
      assert.ok(plain.startsWith(passed));
    }
    assert.equal(complete, plain.length);
    const one = Buffer.from('data: {"choices":[{}]}\n\n');
    assert.equal(hideAsked().data(one), one);
  });

  test("a usage that the provider reports unasked stays", () => {
    const streams = [
      'data: {"choices":[{"index":0,"delta":{}}],"usage":{"total_tokens":3}}\n\n',
      'data: {"choices":[],"x_groq":{"usage":{"total_tokens":3}}}\n\n',
      'data: {"choices":[]}\n\n',
      'data: {"usage":{"total_tokens":3}}\n\n',
      'data: {"choices":{},"usage":{"total_tokens":3}}\n\n',
      'data: {"choices":[],"usage":7}\n\n',
      'data: {"choices":[],"usage":nullish}\n\n',
      'data: {"choices":[{"usage":null}]}\n\n',
      'data: {"choices":[],"usage":null,"usage":{}}\n\n',
      'data: {"a":1}\ndata: {"usage":null}\n\n',
      'data: {"usage":null\n\n',
      'data: {"usage":null} x\n\n',
      '{"error":{"message":"no","usage":null}}',
      '{"error":{"message":"no"},\n\n"usage":null}\n',
    ];
    for (const stream of streams) assert.equal(filtered(Buffer.from(stream)), stream);
  });

  test("the null usage goes with its comma and its blanks, wherever it stands", () => {
    const cases: readonly (readonly [string, string])[] = [
      ['{"a": 1, "usage": null}', '{"a": 1}'],
      ['{ "a": 1, "usage" :null , "b": [2] }', '{ "a": 1 , "b": [2] }'],
      ['{"usage":null,"a":1}', '{"a":1}'],
      ['{ "usage": null, "a": 1 }', '{ "a": 1 }'],
      ['{"usage":null}', "{}"],
      ['{"\\u0075sage":null,"x":"\\"usage\\""}', '{"\\u0075sage":null,"x":"\\"usage\\""}'],
    ];
    for (const [asked, plain] of cases) assert.equal(filtered(Buffer.from(`data:${asked}\n\n`)), `data:${plain}\n\n`);
  });

  test("a comment in front of the extra chunk stays", () => {
    const extra = 'data: {"choices":[ ],"usage":{}}';
    assert.equal(filtered(Buffer.from(`: ping\r\n${extra}\r\n\r\ndata: x\r\n\r\n`)), ": ping\r\ndata: x\r\n\r\n");
    assert.equal(filtered(Buffer.from(`event: e\n${extra}\n\n`)), "");
  });

  test("what is undecided when the stream breaks off passes", () => {
    const { asked } = chat(false, "\n");
    const cut = asked.slice(0, asked.indexOf("total_tokens") + 8);
    assert.ok(filtered(Buffer.from(cut, "latin1")).endsWith(cut.slice(cut.lastIndexOf("\n\n") + 2)));
  });

  test("an event that is too long passes as it is, and the next one is looked at again", () => {
    const long = `data: {"x":"${"y".repeat(MAX_HELD_BYTES)}","usage":null}\n\n`;
    const bytes = Buffer.from(`${long}data: {"a":1,"usage":null}\n\n`);
    for (const splits of [[MAX_HELD_BYTES + 5], [10, 1000, MAX_HELD_BYTES + 30], [100_000, 200_000, long.length - 1]]) {
      assert.equal(filtered(bytes, splits), `${long}data: {"a":1}\n\n`);
    }
  });

  test("for every stream, asking and hiding is the same as not asking", () => {
    const member = fc.record({ name: fc.string({ maxLength: 8 }), value: fc.jsonValue({ maxDepth: 2 }) });
    const chunk = fc.record({ members: fc.array(member, { maxLength: 4 }), place: fc.nat(5), indent: fc.boolean() });
    const noise = fc.constantFrom(": ping", "event: done\ndata: [DONE]", "data: 7", "retry: 1");
    const text = (members: readonly { name: string; value: unknown }[], blank: string): string =>
      `{${members.map(({ name, value }) => `${JSON.stringify(name)}:${blank}${JSON.stringify(value)}`).join(`,${blank}`)}}`;
    fc.assert(
      fc.property(
        fc.array(fc.oneof(chunk, noise), { maxLength: 6 }),
        fc.array(fc.nat(300), { maxLength: 5 }),
        (events, cuts) => {
          const build = (asked: boolean): string =>
            events
              .map((event) => {
                if (typeof event === "string") return `${event}\n\n`;
                const unique = new Map(event.members.map((each) => [each.name, each]));
                unique.delete("usage");
                const members = [...unique.values(), { name: "choices", value: [1] as unknown }];
                if (asked) members.splice(Math.min(event.place, members.length), 0, { name: "usage", value: null });
                return `data: ${text(members, event.indent ? " " : "")}\n\n`;
              })
              .concat(asked ? ['data: {"choices":[],"usage":{"total_tokens":1}}\n\n'] : [])
              .join("");
          const bytes = Buffer.from(build(true));
          const splits = cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b);
          assert.equal(filtered(bytes, splits), Buffer.from(build(false)).toString("latin1"));
        },
      ),
      { numRuns: 500 },
    );
  });

  test("whatever comes, nothing is added and the rest passes in order", () => {
    const piece = fc.constantFrom(
      "data: ",
      '{"usage":null}',
      '{"choices":[],"usage":{}}',
      "\n",
      "\r",
      "\n\n",
      ":",
      "x",
      '"',
      "{",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), fc.array(fc.nat(120), { maxLength: 5 }), (pieces, cuts) => {
        const bytes = Buffer.from(pieces.join(""));
        const splits = cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b);
        const passed = filtered(bytes, splits);
        assert.equal(passed, filtered(bytes));
        let at = 0;
        for (const character of bytes.toString("latin1")) if (character === passed[at]) at += 1;
        assert.equal(at, passed.length);
      }),
      { numRuns: 2000 },
    );
  });
});
