import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { initializedPlace } from "../../support/cli-process.ts";

describe("sidekey run", () => {
  test("the program gets proxy variables with a token of its own, which ends with it", async (t) => {
    const { run } = await initializedPlace(t);
    const ran = await run(["run", "--", "sh", "-c", 'echo "$HTTPS_PROXY $NODE_EXTRA_CA_CERTS"; cat; exit 7'], {
      input: "from stdin",
    });
    assert.equal(ran.code, 7, ran.all);
    assert.match(
      ran.stdout,
      /^http:\/\/app:skc_[a-z2-7]{10}_[\w-]{43}@127\.0\.0\.1:8787 \/.*\/data\/ca\.pem\nfrom stdin$/,
    );
    assert.match(ran.stderr, /no daemon answers/);
    const tokens = JSON.parse((await run(["client", "list", "--json"])).stdout) as {
      label: string;
      createdAt: number;
      expiresAt: number | null;
      revokedAt: number | null;
    }[];
    const own = tokens.find((token) => token.label === "run");
    assert.ok(own !== undefined && own.revokedAt !== null);
    assert.ok(Math.abs((own.expiresAt ?? 0) - own.createdAt - 24 * 3_600_000) < 10_000);
  });

  test("a signal that ends the program is its exit code, and a program that is not there is exit 4", async (t) => {
    const { run } = await initializedPlace(t);
    assert.equal((await run(["run", "--", "sh", "-c", "kill -TERM $$"])).code, 128 + 15);
    assert.equal((await run(["run", "--", "no-such-program-here"])).code, 4);
    assert.equal((await run(["run"])).code, 2);
  });
});
