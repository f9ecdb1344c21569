import assert from "node:assert/strict";
import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { type CliPlace, cliPlace, initializedPlace } from "../../support/cli-process.ts";

const PRICES = `version: 1
table: "2026-06"
currencies: { EUR: [{ from: 2026-01-01, usd: 1.10 }] }
providers:
  openai:
    models:
      - names: [gpt-4o, gpt-4o-20*]
        prices:
          - { from: 2026-01-01, to: 2026-06-01, input: 5, output: 20 }
          - { from: 2026-06-01, maxOutput: 16384, input: 2.50, cached_input: "1.25", output: 10,
              above: [{ tokens: 1000, input: 5, cached_input: 2.5, output: 20 }],
              tiers: { batch: 0.5, priority: { input: 4, output: 16, above: [{ tokens: 1000, input: 8, cached_input: 4, output: 32 }] } },
              peak: { hours: [mon-fri 01:00-04:00], factor: 2 } }
  mistral:
    currency: EUR
    models: [{ names: ["*"], prices: [{ from: 2026-01-01, input: 1, output: 3 }] }]
  fmp: { flat: true }
`;

/** A place with these prices and nothing else: what costs are worked out from needs no vault. */
function placeWith(t: TestContext): CliPlace {
  const place = cliPlace(t);
  mkdirSync(place.config);
  writeFileSync(join(place.config, "prices.yaml"), PRICES);
  return place;
}

/** A place that `init` made, with these prices instead of the sample. */
async function initializedWith(t: TestContext, text = PRICES): Promise<CliPlace> {
  const place = await initializedPlace(t);
  writeFileSync(join(place.config, "prices.yaml"), text);
  return place;
}

describe("sidekey prices check", () => {
  test("the sample is copied by init, is good, and names only providers of the catalog", async (t) => {
    const { run } = await initializedPlace(t);
    const checked = await run(["prices", "check"]);
    assert.equal(checked.code, 0, checked.all);
    assert.match(
      checked.stdout,
      /^ok {4}config\/prices\.yaml: table \d{4}-\d{2}-\d{2}\+[0-9a-f]{12}, providers \d+\n$/,
    );
    assert.equal(checked.stderr, "");
  });

  test("every problem has its place, and one is enough for exit 1; another file can be named", async (t) => {
    const { run, dir } = await initializedWith(t);
    const broken = PRICES.replace("input: 5", "input: five")
      .replace("flat: true", "flat: yes")
      .replace("EUR: [", "EU: [");
    writeFileSync(join(dir, "next.yaml"), broken);
    assert.equal((await run(["prices", "check"])).code, 0);
    const checked = await run(["prices", "check", "next.yaml"]);
    assert.equal(checked.code, 1);
    assert.deepEqual(
      [...checked.stdout.matchAll(/^fail {2}next\.yaml:(\d+):\d+ (\S+): \S/gm)].map((match) => [match[1], match[2]]),
      [
        ["3", "currencies.EU"],
        ["9", "providers.openai.models[0].prices[0].input"],
        ["17", "providers.fmp.flat"],
      ],
    );
    assert.match(checked.stderr, /^3 problems; a running daemon keeps the prices that it has$/m);
    const json = JSON.parse((await run(["prices", "check", "next.yaml", "--json"])).stdout) as {
      ok: boolean;
      table: string | null;
      problems: { line: number; path: string }[];
    };
    assert.deepEqual([json.ok, json.table, json.problems.length], [false, null, 3]);
    assert.equal(json.problems[1]?.path, "providers.openai.models[0].prices[0].input");
  });

  test("a provider that the catalog does not have is a warning, for it is never looked up", async (t) => {
    const { run } = await initializedWith(t, PRICES.replace("fmp:", "fnp:"));
    const checked = await run(["prices", "check"]);
    assert.equal(checked.code, 0);
    assert.match(checked.stderr, /^warning: config\/prices\.yaml providers\.fnp: not in the catalog; /m);
    const json = JSON.parse((await run(["prices", "check", "--json"])).stdout) as { ok: boolean; warnings: string[] };
    assert.deepEqual([json.ok, json.warnings.length], [true, 1]);
  });

  test("a file that is missing or open to all is exit 1 with the next step", async (t) => {
    const { run, config } = await initializedWith(t);
    const file = join(config, "prices.yaml");
    chmodSync(file, 0o666);
    const open = await run(["prices", "check"]);
    assert.equal(open.code, 1);
    assert.match(open.stderr, /chmod o-w /);
    rmSync(file);
    const missing = await run(["prices", "check"]);
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /prices\.yaml cannot be read \(ENOENT\); check `prices` in daemon\.yaml/);
  });
});

describe("sidekey prices show", () => {
  test("the table as a whole, and what one provider costs in every case", async (t) => {
    const { run } = placeWith(t);
    const all = await run(["prices", "show"]);
    assert.equal(
      all.stdout,
      [
        "PROVIDER  CURRENCY  MODELS",
        "openai    USD       1",
        "mistral   EUR       1",
        "fmp       -         subscription",
        "",
      ].join("\n"),
    );
    assert.match(all.stderr, /^table 2026-06\+[0-9a-f]{12} of config\/prices\.yaml; check the prices /m);
    const one = (await run(["prices", "show", "openai"])).stdout
      .split("\n")
      .map((line) => line.split(/ {2,}/).join("|"));
    assert.deepEqual(one, [
      "MODELS|FROM|TO|FOR|PRICES (USD)",
      "gpt-4o, gpt-4o-20*|2026-01-01|2026-06-01|input 5, output 20",
      "gpt-4o, gpt-4o-20*|2026-06-01|-|answers up to 16384|input 2.5, cached_input 1.25, output 10",
      "|above 1000|input 5, cached_input 2.5, output 20",
      "|batch|tokens x 0.5",
      "|priority|input 4, output 16",
      "|priority, above 1000|input 8, cached_input 4, output 32",
      "|mon-fri 01:00-04:00|tokens x 2",
      "",
    ]);
    assert.equal((await run(["prices", "show", "fmp"])).stdout, "a subscription: calls cost nothing\n");
  });

  test("as JSON it is what the file says, of all providers or of one; an unknown one is exit 4", async (t) => {
    const { run } = placeWith(t);
    const all = JSON.parse((await run(["prices", "show", "--json"])).stdout) as { providers: Record<string, unknown> };
    assert.deepEqual(Object.keys(all.providers), ["openai", "mistral", "fmp"]);
    const one = JSON.parse((await run(["prices", "show", "fmp", "--json"])).stdout) as Record<string, unknown>;
    assert.deepEqual(one.providers, { fmp: { flat: true } });
    for (const id of ["cohere", "__proto__", "constructor"]) {
      const unknown = await run(["prices", "show", id]);
      assert.equal(unknown.code, 4, unknown.all);
      assert.match(unknown.stderr, /the price table has no such provider/);
    }
  });
});

describe("sidekey prices cost", () => {
  test("the exact cost of a call, by model, tier, length and time", async (t) => {
    const { run } = placeWith(t);
    const cost = async (...args: string[]): Promise<string | undefined> => {
      const done = await run(["prices", "cost", "openai", ...args]);
      assert.equal(done.code, 0, done.all);
      return /^cost +(.*)$/m.exec(done.stdout)?.[1];
    };
    const may = ["--at", "2026-05-31T23:59:59.999Z"];
    const june = ["--at", "2026-06-01"];
    assert.equal(await cost("gpt-4o", "--units", "input=1000,output=200", ...june), "0.0045 USD");
    assert.equal(await cost("gpt-4o-2024-08-06", "--units", "input=1000, output=200", ...may), "0.009 USD");
    assert.equal(await cost("gpt-4o", "--units", "input=1000,output=200", "--tier", "batch", ...june), "0.00225 USD");
    assert.equal(await cost("gpt-4o", "--units", "input=1001", ...june), "0.005005 USD");
    assert.equal(await cost("gpt-4o", "--units", "cached_input=1", ...june), "0.00000125 USD");
    assert.equal(await cost("gpt-4o", "--units", "input=2", "--at", "2026-06-02T01:30Z"), "0.00001 USD");
  });

  test("without --at it is now; everything is in the JSON, the money as an integer too", async (t) => {
    const { run } = placeWith(t);
    const done = await run(["prices", "cost", "mistral", "any", "--units", "input=7", "--json"]);
    assert.equal(done.code, 0, done.all);
    const { at, table, ...rest } = JSON.parse(done.stdout) as Record<string, unknown>;
    assert.ok(Math.abs(Date.parse(String(at)) - Date.now()) < 3_600_000);
    assert.match(String(table), /^2026-06\+[0-9a-f]{12}$/);
    assert.deepEqual(rest, {
      provider: "mistral",
      model: "any",
      tier: null,
      units: { input: 7 },
      usd: "0.0000077",
      nanoUsd: 7_700,
      unpriced: [],
      maxOutput: null,
    });
  });

  test("what has no price is named, and is exit 1: it is never counted as free", async (t) => {
    const { run } = placeWith(t);
    const june = ["--at", "2026-06-01"];
    const part = await run(["prices", "cost", "openai", "gpt-4o", "--units", "input=1,image=2,tool_call=0", ...june]);
    assert.equal(part.code, 1);
    assert.match(part.stdout, /^cost +unpriced \(the rest: 0\.0000025 USD\)\nwithout a price +image$/m);
    for (const args of [
      ["openai", "gpt-9", "--units", "input=1", ...june],
      ["openai", "gpt-4o", "--units", "input=1", "--tier", "flex", ...june],
      ["openai", "gpt-4o", "--units", "input=1", "--at", "2025-12-31"],
    ]) {
      const none = await run(["prices", "cost", ...args, "--json"]);
      assert.equal(none.code, 1, none.all);
      assert.deepEqual((JSON.parse(none.stdout) as { unpriced: unknown }).unpriced, ["input"]);
    }
    assert.equal((await run(["prices", "cost", "fmp", "quote", "--units", "request=1,image=1"])).code, 0);
  });

  test("what cannot be asked is exit 2, a provider without prices exit 4", async (t) => {
    const { run } = placeWith(t);
    const wrong = [
      [],
      ["--units", ""],
      ["--units", "input"],
      ["--units", "input=-1"],
      ["--units", "input=1e3"],
      ["--units", "input=1.5"],
      ["--units", "input=9007199254740992"],
      ["--units", "inputs=1"],
      ["--units", "__proto__=1"],
      ["--units", "input=1,input=2"],
      ["--units", "input=1,"],
      ["--units", "input=1", "--at", "yesterday"],
      ["--units", "input=1", "--at", "2026-02-31"],
    ];
    for (const args of wrong) {
      const done = await run(["prices", "cost", "openai", "gpt-4o", ...args]);
      assert.equal(done.code, 2, `${args.join(" ")}: ${done.all}`);
    }
    assert.equal((await run(["prices", "cost", "cohere", "x", "--units", "input=1"])).code, 4);
  });
});
