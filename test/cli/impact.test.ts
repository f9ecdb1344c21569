import assert from "node:assert/strict";
import { test } from "node:test";
import type { Cli } from "../../src/cli/cli.ts";
import { CliError } from "../../src/cli/failure.ts";
import { confirm, type Meant, routesUsing, showImpact } from "../../src/cli/impact.ts";
import type { Credential } from "../../src/store/credentials.ts";
import { compiled, withRoutes } from "../policy/policy-fixture.ts";
import { secret } from "../support/vault-fixture.ts";

function credential(changes: Partial<Credential> = {}): Credential {
  const versions = [{ number: 1, stage: "current", createdAt: 0, fingerprint: "0" }];
  const service = { owner: { kind: "service" }, state: "enabled", environment: "live" };
  return { id: "id", name: "p-main", provider: "p", versions, ...service, ...changes } as Credential;
}

/** A terminal at which `typed` is typed; null when there is none. */
function cliWith(typed: string | null, notes: string[] = []): Cli {
  const asked: string[] = notes;
  return {
    terminal: { note: (text: string) => notes.push(text) },
    prompter: {
      interactive: typed !== null,
      ask: async (label: string) => {
        asked.push(label);
        return secret(typed ?? "");
      },
    },
  } as unknown as Cli;
}

const MEANT: Meant = { yes: false, question: "remove p-main" };

test("a credential's routes are those that name it, and a user's own those that take it", () => {
  const { snapshot } = compiled(
    withRoutes(
      "  a: { provider: p, credentials: [p-main], clients: [app], allow: [{ paths: [/a/**] }] }\n" +
        "  b: { provider: p, credentials: { owner: user, else: p-main }, clients: [app], allow: [{ paths: [/b/**] }] }\n" +
        "  c: { provider: p, credentials: [p-spare], clients: [app], allow: [{ paths: [/c/**] }] }\n",
    ),
  );
  assert.deepEqual(routesUsing(snapshot, credential()), ["a", "b"]);
  assert.deepEqual(routesUsing(snapshot, credential({ name: "p-7", owner: { kind: "user", id: "7" } })), ["b"]);
  assert.deepEqual(routesUsing(snapshot, credential({ name: "p-8" })), []);
});

test("the summary names at most ten clients, and says what could not be found out", () => {
  const notes: string[] = [];
  const uses = Array.from({ length: 12 }, (_, n) => ({ client: `c${n}`, route: "a", requests: 5, lastMs: 0 }));
  showImpact(cliWith(null, notes), credential(), { routes: { value: ["a"] }, uses: { value: uses } });
  assert.equal(notes.length, 3 + 10 + 1);
  assert.deepEqual(notes.slice(0, 4), [
    "p-main (p live, enabled): 1 current",
    "  used by route a",
    "  used it in the last 7 days: 60 requests",
    "    c0 on a: 5, last in the hour of 1970-01-01T00:00:00Z",
  ]);
  assert.match(notes.at(-1) ?? "", /and 2 more/);
  const unknown: string[] = [];
  showImpact(cliWith(null, unknown), credential(), { routes: { problem: "bad" }, uses: { problem: "torn" } }, 1);
  assert.deepEqual(unknown.slice(1), [
    "  which routes use it is not known: bad",
    "  who used version 1 is not known: torn",
  ]);
});

test("at a terminal it is asked, and only the very answer goes on", async () => {
  await confirm(cliWith("y"), MEANT);
  await confirm(cliWith("p-main"), { ...MEANT, typed: "p-main" });
  for (const typed of ["", "n", "Y", "yes", "p-main"]) {
    await assert.rejects(confirm(cliWith(typed), MEANT), CliError, typed);
  }
  for (const typed of ["y", "p-mai", "p-main "]) {
    await assert.rejects(confirm(cliWith(typed), { ...MEANT, typed: "p-main" }), /nothing was changed/, typed);
  }
  const asked: string[] = [];
  await confirm(cliWith("n", asked), { ...MEANT, yes: true });
  assert.deepEqual(asked, []);
});

test("without a terminal only what cannot be undone needs --yes", async () => {
  await confirm(cliWith(null), MEANT);
  await confirm(cliWith(null), { ...MEANT, destructive: true, yes: true });
  await assert.rejects(
    confirm(cliWith(null), { ...MEANT, destructive: true }),
    (error) => error instanceof CliError && error.exitCode === 2 && /--yes/.test(error.nextStep ?? ""),
  );
});
