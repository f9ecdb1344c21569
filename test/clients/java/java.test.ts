import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { programRuns } from "../../support/requirement.ts";
import { HOSTS, startClientScene } from "../support/client-scene.ts";
import { runClient } from "../support/run-client.ts";

test("Java's HTTP client finds proxy and truststore in JAVA_TOOL_OPTIONS and shows the token as its key", async (t) => {
  // Not among the programs that an automated run installs; a runtime without the compiler cannot run a source file.
  if (!programRuns("javac")) return t.skip("no JDK is installed here");
  const scene = await startClientScene(t);
  const run = await runClient(t, {
    program: "java",
    args: ["-XX:TieredStopAtLevel=1", join(import.meta.dirname, "HttpService.java"), HOSTS.openai, scene.token],
    env: scene.throughProxy(),
  });
  const answers = run.stdout.trim().split("\n");
  assert.equal(run.code, 0, run.stderr);
  assert.match(answers[0] ?? "", /^HTTP_2 200 .*"gpt-test"/);
  assert.match(answers[1] ?? "", /^HTTP_1_1 200 .*"gpt-test"/);
  scene.arrived(2);
  assert.deepEqual(await scene.forms(), { absolute: 1, connect: 1 });
});
