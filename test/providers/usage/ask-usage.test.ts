import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { askForUsage } from "../../../src/providers/usage/ask-usage.ts";

const ask = (body: string): string | null => askForUsage(Buffer.from(body))?.toString() ?? null;

describe("asking for usage", () => {
  test("changes no byte but those that ask", () => {
    const cases: readonly (readonly [string, string])[] = [
      ['{"model":"m","stream":true}', '{"model":"m","stream":true,"stream_options":{"include_usage":true}}'],
      ['\n{ "stream" : true\n}\n', '\n{ "stream" : true,"stream_options":{"include_usage":true}\n}\n'],
      ['{"stream_options":{},"a":"é"}', '{"stream_options":{"include_usage":true},"a":"é"}'],
      [
        '{"stream_options": { "include_obfuscation":false },"b":[1,{"stream_options":2}]}',
        '{"stream_options": {"include_usage":true, "include_obfuscation":false },"b":[1,{"stream_options":2}]}',
      ],
      ['{"stream_options":{"include_usage":false}}', '{"stream_options":{"include_usage":true}}'],
      ['{"stream_options":{"x":1,"include_usage" : null}}', '{"stream_options":{"x":1,"include_usage" : true}}'],
      ['{"stream_options":null}', '{"stream_options":{"include_usage":true}}'],
      ['{"\\u0073tream_options":{}}', '{"\\u0073tream_options":{"include_usage":true}}'],
    ];
    for (const [body, asked] of cases) assert.equal(ask(body), asked);
  });

  test("is left alone when the body is not beyond doubt", () => {
    const doubtful = [
      "",
      "{}",
      "[]",
      "null",
      '"x"',
      '{"a":1',
      '{"a":1}}',
      '{"a":1} {"b":2}',
      '{"a" 1}',
      '{"a":}',
      '{"a":1,}',
      "{'a':1}",
      '{"stream_options":{},"\\u0073tream_options":{}}',
      '{"stream_options":{},"stream_options":{}}',
      '{"stream_options":[]}',
      '{"stream_options":"x"}',
      '{"stream_options":true}',
      '{"stream_options":{"include_usage":true}}',
      '{"stream_options":{"include_usage":"no"}}',
      '{"stream_options":{"include_usage":1}}',
      '{"stream_options":{"include_usage":false,"include_usage":false}}',
      '{"a":[1,2}',
      `{"a":${"[".repeat(600)}${"]".repeat(600)}}`,
    ];
    for (const body of doubtful) assert.equal(ask(body), null, body.slice(0, 60));
  });

  test("for every request, the rest of it is what it was", () => {
    const names = fc.oneof(fc.constantFrom("stream", "messages", "stream_options"), fc.string());
    const options = fc.dictionary(fc.constantFrom("include_obfuscation", "x"), fc.jsonValue(), { maxKeys: 2 });
    fc.assert(
      fc.property(
        fc.dictionary(names, fc.jsonValue(), { minKeys: 1 }),
        options,
        fc.boolean(),
        (body, given, indent) => {
          const request: Record<string, unknown> = { ...body };
          if ("stream_options" in request) request.stream_options = given;
          const asked = ask(JSON.stringify(request, null, indent ? 2 : undefined));
          const wanted = {
            ...request,
            stream_options: { ...("stream_options" in request ? given : {}), include_usage: true },
          };
          assert.deepEqual(JSON.parse(asked ?? "null"), JSON.parse(JSON.stringify(wanted)));
        },
      ),
    );
  });

  test("whatever the bytes are, it never throws", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => void askForUsage(Buffer.from(bytes))));
  });
});
