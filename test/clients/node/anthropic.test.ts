import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { echo } from "../support/ai-answers.ts";
import { sha256 } from "../support/answer-parts.ts";
import { startClientScene } from "../support/client-scene.ts";
import { runForJson } from "../support/run-client.ts";

function failed(name: string, status: number, type: string): unknown {
  const body = { type: "error", error: { type, message: `Anthropic says ${status}` }, request_id: "req_1" };
  return [name, status, body, "req_1"];
}

const EXPECTED = {
  message: echo("grüße"),
  streamed: [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
  ],
  helperStream: [echo("grüße"), echo("grüße"), 7],
  failures: [
    failed("AuthenticationError", 401, "authentication_error"),
    failed("RateLimitError", 429, "rate_limit_error"),
    failed("InternalServerError", 500, "api_error"),
  ],
  file: `file_${sha256("text\r\n".repeat(20_000))}`,
};
const REQUESTS = 7;

const command = { program: process.execPath, args: [join(import.meta.dirname, "anthropic-service.ts")] };

test("the Anthropic SDK works with a base URL and the token as its key, from the environment alone", async (t) => {
  const scene = await startClientScene(t);
  assert.deepEqual(await runForJson(t, { ...command, env: scene.byBaseUrl() }), EXPECTED);
  scene.arrived(REQUESTS);
  assert.deepEqual(await scene.forms(), { origin: REQUESTS });
});

test("the Anthropic SDK works through the proxy of its environment, whatever key it was given", async (t) => {
  const scene = await startClientScene(t);
  const env = scene.throughProxy({ ANTHROPIC_API_KEY: "sk-ant-placeholder" });
  assert.deepEqual(await runForJson(t, { ...command, env }), EXPECTED);
  scene.arrived(REQUESTS);
  assert.deepEqual(await scene.forms(), { connect: REQUESTS });
});
