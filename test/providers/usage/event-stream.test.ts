import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { EventStream } from "../../../src/providers/usage/event-stream.ts";

function eventsOf(bytes: Buffer, splits: readonly number[] = []): string[] {
  const events: string[] = [];
  let data = "";
  const stream = new EventStream({
    data: (chunk, from, to) => {
      data += chunk.toString("latin1", from, to);
    },
    event: () => {
      events.push(data);
      data = "";
    },
  });
  let from = 0;
  for (const to of [...splits, bytes.length]) {
    stream.write(Buffer.from(bytes.subarray(from, to)));
    from = to;
  }
  return events;
}

/** The algorithm of WHATWG HTML section 9.2.6, on text. */
function reference(bytes: Buffer): string[] {
  const events: string[] = [];
  let lines: string[] = [];
  const parts = bytes
    .toString("latin1")
    .replace(/^\u00ef\u00bb\u00bf/, "")
    .split(/\r\n|\n|\r/);
  for (const line of parts.slice(0, -1)) {
    if (line === "") {
      if (lines.length > 0) events.push(lines.join("\n"));
      lines = [];
      continue;
    }
    const colon = line.indexOf(":");
    const field = colon === -1 ? line : line.slice(0, colon);
    if (field === "data") lines.push(colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, ""));
  }
  return events;
}

const STREAMS: readonly (readonly [string, string])[] = [
  ["one event", "data: a\n\n"],
  ["without the blank behind the colon", "data:a\n\ndata:  b\n\n"],
  ["several lines of data", "data: a\ndata\ndata: b\n\n"],
  ["comments, names, ids and unknown fields", ": ping\n\nevent: x\nid: 7\ndata: {}\nretry: 9\nfoo\n: c\n\n:\n\n"],
  ["an event without data", "event: ping\n\ndata: z\n\n"],
  ["an event with empty data", "data:\n\ndata\n\n"],
  ["names that begin like data", "dat: a\ndatab: b\ndata : c\n data: d\ndata: e\n\n"],
  ["a byte order mark", "\u00ef\u00bb\u00bfdata: a\n\n"],
  ["two byte order marks", "\u00ef\u00bb\u00bf\u00ef\u00bb\u00bfdata: a\n\ndata: b\n\n"],
  ["half a byte order mark", "\u00ef\u00bbdata: a\n\ndata: b\n\n"],
  ["half a byte order mark and nothing", "\u00ef\n\ndata: b\n\n"],
  ["blank lines first", "\n\n\ndata: a\n\n\n\ndata: b\n\n"],
  ["an event that is cut off", "data: a\n\ndata: b\n"],
  ["nothing", ""],
];

describe("server-sent events", () => {
  for (const [name, lf] of STREAMS) {
    test(`${name}: the same with every line end and every split`, () => {
      const wanted = reference(Buffer.from(lf, "latin1"));
      for (const end of ["\n", "\r\n", "\r"]) {
        const bytes = Buffer.from(lf.replaceAll("\n", end), "latin1");
        // A lone carriage return at the very end may still be the first half of a line end; the event is complete.
        assert.deepEqual(eventsOf(bytes), wanted);
        for (let cut = 0; cut <= bytes.length; cut++) assert.deepEqual(eventsOf(bytes, [cut]), wanted, `cut at ${cut}`);
        assert.deepEqual(
          eventsOf(
            bytes,
            Array.from(bytes, (_, at) => at),
          ),
          wanted,
        );
      }
    });
  }

  test("whatever the bytes are, the events are those of the standard", () => {
    const piece = fc.constantFrom(
      "data",
      "data:",
      "data: ",
      "\n",
      "\r",
      "\r\n",
      "\n\n",
      ":",
      " ",
      "x",
      "\u00ef\u00bb\u00bf",
      "\u00ef",
      "event: y",
      '{"a":1}',
      "\0",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), fc.array(fc.nat(80), { maxLength: 5 }), (pieces, cuts) => {
        const bytes = Buffer.from(pieces.join(""), "latin1");
        const splits = cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b);
        assert.deepEqual(eventsOf(bytes, splits), reference(bytes));
      }),
      { numRuns: 3000 },
    );
  });
});
