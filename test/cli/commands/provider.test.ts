import assert from "node:assert/strict";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { initializedPlace } from "../../support/cli-process.ts";

describe("sidekey provider", () => {
  test("list and show read the catalog; an unknown id is exit 4 with those that begin alike", async (t) => {
    const { run } = await initializedPlace(t);
    const list = JSON.parse((await run(["provider", "list", "--json"])).stdout) as {
      id: string;
      rotation: { class: string } | null;
    }[];
    const classes = new Map(list.map(({ id, rotation }) => [id, rotation?.class]));
    assert.equal(
      classes.get("openai"),
      "automatic (openai): sidekey makes and ends keys with a credential of openai-admin",
    );
    assert.equal(classes.get("perplexity"), "automatic (perplexity): sidekey makes and ends keys with the key itself");
    assert.equal(classes.get("schwab"), "refresh: access tokens renew by themselves, the rest by hand");
    assert.equal(classes.get("anthropic"), "by hand; the provider can end a key by API");
    assert.equal(classes.get("fmp"), "by hand: sidekey reminds, tests and moves the traffic");
    assert.ok(["alpaca", "demo", "fmp", "openai"].every((id) => list.some((provider) => provider.id === id)));
    assert.match(
      (await run(["provider", "list"])).stdout,
      /^fmp +Financial Modeling Prep +market-data +live +api_key$/m,
    );
    const shown = await run(["provider", "show", "alpaca"]);
    assert.match(shown.stdout, /^paper +paper-api\.alpaca\.markets, /m);
    assert.match(shown.stdout, /^secret_key .* secret /m);
    const unknown = await run(["provider", "show", "alpacca"]);
    assert.equal(unknown.code, 4);
    assert.match(unknown.stderr, /did you mean alpaca/);
  });

  test("check names the line of a mistake, and wants the file to be called after its id", async (t) => {
    const { run, dir, config } = await initializedPlace(t);
    const file = join(config, "providers", "demo.yaml");
    assert.equal((await run(["provider", "check", file])).code, 0);
    copyFileSync(file, join(dir, "other.yaml"));
    assert.match(
      (await run(["provider", "check", "other.yaml"])).stderr,
      /other\.yaml:\d+ id: "demo" is not the file's name/,
    );
    writeFileSync(join(dir, "demo.yaml"), readFileSync(file, "utf8").replace("category:", "kategory:"));
    const broken = await run(["provider", "check", "demo.yaml"]);
    assert.equal(broken.code, 1);
    assert.match(broken.stderr, /demo\.yaml:\d+/);
    assert.equal((await run(["provider", "check", "missing.yaml"])).code, 1);
  });
});
