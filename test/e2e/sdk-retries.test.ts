import assert from "node:assert/strict";
import { test } from "node:test";
import type Anthropic from "@anthropic-ai/sdk";
import type OpenAI from "openai";
import type { StandInHandler } from "../support/stand-in.ts";
import { anthropicAnswer } from "./anthropic-answers.ts";
import { anthropicClient, anthropicProvider, MESSAGE } from "./anthropic-provider.ts";
import { openAiAnswer } from "./openai-answers.ts";
import { CHAT, openAiClient, openAiProvider } from "./openai-provider.ts";
import { sameEveryWay, startSdkScene, type Used, unused } from "./sdk-scene.ts";

/** What the SDKs try again by themselves, as they do by default. */

const TIMEOUT = { timeout: 60_000 };
const MESSAGES = [{ role: "user" as const, content: "grüße" }];

/** As many failures before every success. The SDKs say how often they have tried. */
function lateSuccess(
  status: number,
  failures: number,
  answer: (request: Parameters<StandInHandler>[0]) => unknown,
): StandInHandler {
  return (request) => {
    const tries = Number(request.values("x-stainless-retry-count").join());
    if (tries === failures) return answer(request) as ReturnType<StandInHandler>;
    const error = { error: { message: "try again", type: "server_error", param: null, code: null } };
    const headers = { "content-type": "application/json", "retry-after-ms": "5", "x-request-id": `req_${tries}` };
    return { status, headers, body: JSON.stringify(error) };
  };
}

// One failure of the server each: more in a row, and sidekey leaves the provider alone for a while.
for (const [status, failures] of [
  [429, 2],
  [503, 1],
] as const) {
  test(
    `OpenAI: calls that get a ${status} at first end well for the SDK, and each try is recorded`,
    TIMEOUT,
    async (t) => {
      const scene = await startSdkScene(t, { ...openAiProvider, handler: lateSuccess(status, failures, openAiAnswer) });
      const used: Used[] = [...Array<Used>(failures).fill(unused("chat", "gpt-4o")), CHAT];
      const call = (client: OpenAI) =>
        client.chat.completions.create({ model: "gpt-4o", messages: MESSAGES }, { maxRetries: 2 });
      await sameEveryWay(scene, openAiClient, [{ name: "chat", call, used }]);
      assert.equal(scene.standIn.requests.length, 4 * (failures + 1));
    },
  );

  test(
    `Anthropic: calls that get a ${status} at first end well for the SDK, and each try is recorded`,
    TIMEOUT,
    async (t) => {
      const scene = await startSdkScene(t, {
        ...anthropicProvider,
        handler: lateSuccess(status, failures, anthropicAnswer),
      });
      const used: Used[] = [...Array<Used>(failures).fill(unused("messages", "claude-sonnet-5-5")), MESSAGE];
      const call = (client: Anthropic) =>
        client.messages.create({ model: "claude-sonnet-5-5", max_tokens: 9, messages: MESSAGES }, { maxRetries: 2 });
      await sameEveryWay(scene, anthropicClient, [{ name: "message", call, used }]);
      assert.equal(scene.standIn.requests.length, 4 * (failures + 1));
    },
  );
}
