import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { programRuns, requires } from "../../support/requirement.ts";
import { echo } from "../support/ai-answers.ts";
import { sha256 } from "../support/answer-parts.ts";
import { type ClientScene, HOSTS, startClientScene } from "../support/client-scene.ts";
import { runForJson } from "../support/run-client.ts";

const PYTHON = join(import.meta.dirname, "../../../.venv/bin/python");

/** A scene, when the interpreter and these modules are installed. */
async function startWith(t: TestContext, ...modules: string[]): Promise<ClientScene | null> {
  const findable = `from importlib.util import find_spec as f; assert all(map(f, ${JSON.stringify(modules)}))`;
  const probe = (): boolean => existsSync(PYTHON) && programRuns(PYTHON, ["-c", findable]);
  return (await requires(t, "python clients", probe)) ? startClientScene(t) : null;
}

function script(name: string, ...args: string[]): { program: string; args: string[] } {
  return { program: PYTHON, args: [join(import.meta.dirname, name), ...args] };
}

test("requests, httpx and aiohttp work in absolute form, through CONNECT and with a base URL", async (t) => {
  const scene = await startWith(t, "requests", "httpx", "aiohttp");
  if (!scene) return;
  const command = script("http_clients.py", HOSTS.fmp, `${scene.origin}/fmp`, scene.token);
  const quote = ["AAPL", 227.48];
  const each = [200, quote, 200_000];
  const all = { requests: each, httpx: each, "httpx async": each, aiohttp: each };
  assert.deepEqual(await runForJson(t, { ...command, env: scene.throughProxy() }), {
    plain: all,
    secure: all,
    base: all,
    "aiohttp without trust_env": quote,
  });
  scene.arrived(25);
  assert.deepEqual(await scene.forms(), { absolute: 8, connect: 8, origin: 9 });
});

const NAMES = ["AuthenticationError", "RateLimitError", "InternalServerError"];
const STATUSES = [401, 429, 500];

function openaiFailures(): unknown {
  const codes = ["invalid_api_key", "rate_limit_exceeded", null];
  return STATUSES.map((status, at) => [
    NAMES[at],
    status,
    { message: `OpenAI says ${status}`, type: "test_error", param: null, code: codes[at] },
  ]);
}

function anthropicFailures(): unknown {
  const types = ["authentication_error", "rate_limit_error", "api_error"];
  return STATUSES.map((status, at) => [
    NAMES[at],
    status,
    { type: "error", error: { type: types[at], message: `Anthropic says ${status}` }, request_id: "req_1" },
  ]);
}

test("the OpenAI and Anthropic SDKs work through the proxy and with base URLs, from the environment alone", async (t) => {
  const scene = await startWith(t, "openai", "anthropic");
  if (!scene) return;
  const said = echo("grüße");
  const round = {
    openai: {
      models: ["gpt-test"],
      chat: said,
      streamed: said,
      helper: said,
      response: said,
      failures: openaiFailures(),
      file: `file-${sha256("text\r\n".repeat(20_000))}`,
    },
    "async openai": { chat: said, streamed: said, "side by side": 3 },
    anthropic: {
      message: said,
      streamed: said,
      events: ["message_start", "message_stop"],
      failures: anthropicFailures(),
    },
    "async anthropic": { message: said, streamed: said },
  };
  const printed = await runForJson(t, {
    ...script("sdk_clients.py"),
    env: scene.throughProxy({ OPENAI_API_KEY: "sk-placeholder", ANTHROPIC_API_KEY: "sk-ant-placeholder" }),
    input: JSON.stringify(scene.byBaseUrl()),
  });
  assert.deepEqual(printed, [round, round]);
  scene.arrived(44);
  assert.deepEqual(await scene.forms(), { connect: 22, origin: 22 });
});

test("the Alpaca SDK works through the proxy and with its base URL replaced, by key pair and by OAuth token", async (t) => {
  const scene = await startWith(t, "alpaca");
  if (!scene) return;
  const trade = {
    account: "010203ABCD",
    placed: ["AAPL", "order-1", "accepted"],
    open: ["MSFT"],
    failure: [422, 42210000, 'asset "NONE" not found'],
  };
  const command = script("alpaca_client.py", `${scene.origin}/alpaca`, scene.token);
  assert.deepEqual(await runForJson(t, { ...command, env: scene.throughProxy() }), [trade, trade, trade]);
  scene.arrived(15);
  assert.deepEqual(await scene.forms(), { connect: 5, origin: 10 });
});
