import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import OpenAI, { AuthenticationError } from "openai";
import { echo } from "../support/ai-answers.ts";
import { sha256 } from "../support/answer-parts.ts";
import { startClientScene } from "../support/client-scene.ts";
import { runForJson } from "../support/run-client.ts";

const EXPECTED = {
  models: ["gpt-test"],
  chat: echo("grüße"),
  streamedChat: echo("grüße"),
  helperStream: [echo("grüße"), "12"],
  response: echo("grüße"),
  streamedResponse: echo("grüße"),
  failures: [
    ["AuthenticationError", 401, "invalid_api_key", "401 OpenAI says 401", "req_1"],
    ["RateLimitError", 429, "rate_limit_exceeded", "429 OpenAI says 429", "req_1"],
    ["InternalServerError", 500, null, "500 OpenAI says 500", "req_1"],
  ],
  file: `file-${sha256("text\r\n".repeat(20_000))}`,
};
const REQUESTS = 10;

const command = { program: process.execPath, args: [join(import.meta.dirname, "openai-service.ts")] };

test("the OpenAI SDK works with a base URL and the token as its key, from the environment alone", async (t) => {
  const scene = await startClientScene(t);
  assert.deepEqual(await runForJson(t, { ...command, env: scene.byBaseUrl() }), EXPECTED);
  scene.arrived(REQUESTS);
  assert.deepEqual(await scene.forms(), { origin: REQUESTS });
});

test("the OpenAI SDK works through the proxy of its environment, whatever key it was given", async (t) => {
  const scene = await startClientScene(t);
  const env = scene.throughProxy({ OPENAI_API_KEY: "sk-placeholder" });
  assert.deepEqual(await runForJson(t, { ...command, env }), EXPECTED);
  scene.arrived(REQUESTS);
  assert.deepEqual(await scene.forms(), { connect: REQUESTS });
});

test("by base URL a wrong token is an authentication error of the SDK, not a broken connection", async (t) => {
  const scene = await startClientScene(t);
  const client = new OpenAI({ baseURL: `${scene.origin}/openai/v1`, apiKey: "skc_wrong", maxRetries: 0 });
  const error = await client.models.list().then(
    () => assert.fail("accepted"),
    (refusal: unknown) => refusal,
  );
  assert.ok(error instanceof AuthenticationError, String(error));
  assert.equal(error.status, 401);
  assert.equal(error.headers?.get("sidekey-error"), "client_unknown");
  scene.arrived(0);
});
