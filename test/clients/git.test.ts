import assert from "node:assert/strict";
import { test } from "node:test";
import { programRuns, requires } from "../support/requirement.ts";
import { HOSTS, startClientScene } from "./support/client-scene.ts";
import { GIT_REFS } from "./support/market-answers.ts";
import { runClient } from "./support/run-client.ts";

test("git reads a repository through the proxy and the trust bundle of its environment", async (t) => {
  if (!(await requires(t, "git", () => programRuns("git")))) return;
  const scene = await startClientScene(t);
  const run = await runClient(t, {
    program: "git",
    args: ["ls-remote", `https://${HOSTS.fmp}/repo.git`],
    env: {
      ...scene.throughProxy(),
      GIT_CONFIG_NOSYSTEM: "1",
      GIT_CONFIG_GLOBAL: "/dev/null",
      GIT_TERMINAL_PROMPT: "0",
    },
  });
  assert.equal(run.stdout, GIT_REFS, run.stderr);
  scene.arrived(2);
});
