import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { requires } from "../../support/requirement.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { echo } from "../support/ai-answers.ts";
import { sha256 } from "../support/answer-parts.ts";
import { HOSTS, startClientScene } from "../support/client-scene.ts";
import { runForJson } from "../support/run-client.ts";

// The first build compiles Go's standard library and the SDK; later ones come out of Go's build cache.
const BUILD_TIMEOUT_MS = 240_000;

/** Builds the client without using the network: false where Go or one of the modules is absent. */
function build(program: string): boolean {
  const args = ["build", "-mod=readonly", "-buildvcs=false", "-o", program, "."];
  const env = { ...process.env, GOPROXY: "off", GOTOOLCHAIN: "local" };
  const built = spawnSync("go", args, { cwd: import.meta.dirname, env, encoding: "utf8", timeout: BUILD_TIMEOUT_MS });
  const broken = /^\.?\/?main\.go:(?![\d:]+ module lookup disabled)/m.test(built.stderr ?? "");
  assert.ok(!broken, `main.go does not compile:\n${built.stderr}`);
  return built.status === 0;
}

test("Go's HTTP client and OpenAI SDK work in absolute form, through CONNECT over HTTP/2 and with base URLs", async (t) => {
  const program = join(tempDir(t), "client");
  if (!(await requires(t, "go with its modules", () => build(program)))) return;
  const scene = await startClientScene(t);
  const sdk = {
    chat: echo("grüße"),
    streamed: echo("grüße"),
    failures: ["401 OpenAI says 401", "429 OpenAI says 429", "500 OpenAI says 500"],
    file: `file-${sha256("text\r\n".repeat(20_000))}`,
  };
  const printed = await runForJson(t, {
    program,
    args: [HOSTS.fmp, `${scene.origin}/fmp`, `${scene.origin}/openai/v1`, scene.token],
    env: scene.throughProxy({ OPENAI_API_KEY: "sk-placeholder" }),
  });
  assert.deepEqual(printed, {
    quotes: { plain: "HTTP/1.1 200 227.48", secure: "HTTP/2.0 200 227.48", base: "HTTP/1.1 200 227.48" },
    uploaded: 200_000,
    parallel: new Array(5).fill("HTTP/2.0 200 227.48"),
    sdkThroughProxy: sdk,
    sdkByBaseUrl: sdk,
  });
  scene.arrived(9 + 2 * 6);
  assert.deepEqual(await scene.forms(), { absolute: 1, connect: 13, origin: 7 });
});
