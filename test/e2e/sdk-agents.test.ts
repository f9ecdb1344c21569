import assert from "node:assert/strict";
import { test } from "node:test";
import type Anthropic from "@anthropic-ai/sdk";
import type OpenAI from "openai";
import { anthropicAnswer as anthropicEcho, echo, openaiAnswer as openAiEcho } from "../clients/support/ai-answers.ts";
import { anthropicClient, anthropicProvider, MESSAGE } from "./anthropic-provider.ts";
import { CHAT, openAiClient, openAiProvider } from "./openai-provider.ts";
import { exactly, sameEveryWay, startSdkScene } from "./sdk-scene.ts";

/** How agents use the SDKs: runners that call tools and go on, and many streams at the same time. */

const TIMEOUT = { timeout: 60_000 };
const STREAMS = 24;
const MESSAGES = [{ role: "user" as const, content: "grüße" }];
const SCHEMA = { type: "object" as const, properties: {} };

function chatTool(name: string, called: unknown[]) {
  const run = (input: string): string => {
    called.push([name, input]);
    return `${name} says ✓`;
  };
  return { type: "function" as const, function: { name, description: name, parameters: SCHEMA, function: run } };
}

async function chatRunner(client: OpenAI): Promise<unknown> {
  const called: unknown[] = [];
  const tools = ["get_weather", "get_time"].map((name) => chatTool(name, called));
  const runner = client.chat.completions.runTools({ model: "gpt-4o", messages: MESSAGES, stream: true, tools });
  return { final: await runner.finalContent(), messages: runner.messages, called };
}

async function messageRunner(client: Anthropic): Promise<unknown> {
  const called: unknown[] = [];
  const run = (input: unknown): string => {
    called.push(input);
    return "12 °C";
  };
  const tool = {
    type: "custom" as const,
    name: "get_weather",
    input_schema: SCHEMA,
    run,
    parse: (input: unknown) => input,
  };
  const runner = client.beta.messages.toolRunner({
    model: "claude-sonnet-5-5",
    max_tokens: 1000,
    messages: MESSAGES,
    tools: [tool],
    stream: true,
  });
  const final = await runner.runUntilDone();
  return { final, messages: runner.params.messages, called };
}

test("OpenAI's runner calls the tools that the model asks for, and goes on", TIMEOUT, async (t) => {
  const scene = await startSdkScene(t, openAiProvider);
  const calls = [{ name: "runner", call: chatRunner, used: [CHAT, CHAT] }];
  const { runner } = (await sameEveryWay(scene, openAiClient, calls)) as { runner: { called: unknown[] } };
  assert.deepEqual(runner.called, [
    ["get_weather", '{"city":"München"}'],
    ["get_time", '{"zone":"Europe/Berlin"}'],
  ]);
});

test("Anthropic's runner calls the tools that the model asks for, and goes on", TIMEOUT, async (t) => {
  const scene = await startSdkScene(t, anthropicProvider);
  const calls = [{ name: "runner", call: messageRunner, used: [MESSAGE, MESSAGE] }];
  const { runner } = (await sameEveryWay(scene, anthropicClient, calls)) as { runner: { called: unknown[] } };
  assert.deepEqual(runner.called, [{ location: "München, BY", unit: "celsius" }]);
});

const texts = Array.from({ length: STREAMS }, (_, at) => `grüße Nummer ${at} ${"✓".repeat(at)}`);

test("many of OpenAI's streams at the same time do not get mixed up, and each is recorded", TIMEOUT, async (t) => {
  const scene = await startSdkScene(t, { ...openAiProvider, handler: openAiEcho });
  const stream = async (client: OpenAI, content: string): Promise<string> => {
    const messages = [{ role: "user" as const, content }];
    let text = "";
    for await (const chunk of await client.chat.completions.create({ model: "gpt-4o", messages, stream: true })) {
      text += chunk.choices[0]?.delta.content ?? "";
    }
    return text;
  };
  const call = (client: OpenAI) => Promise.all(texts.map((text) => stream(client, text)));
  const used = texts.map(() => exactly("chat", "gpt-4o", { input: 5, output: 7 }, 5 * 2500 + 7 * 10_000));
  const results = await sameEveryWay(scene, openAiClient, [{ name: "streams", call, used }]);
  assert.deepEqual(results.streams, texts.map(echo));
});

test("many of Anthropic's streams at the same time do not get mixed up, and each is recorded", TIMEOUT, async (t) => {
  const scene = await startSdkScene(t, { ...anthropicProvider, handler: anthropicEcho });
  const stream = (client: Anthropic, content: string): Promise<string> => {
    const messages = [{ role: "user" as const, content }];
    return client.messages.stream({ model: "claude-sonnet-5-5", max_tokens: 100, messages }).finalText();
  };
  const call = (client: Anthropic) => Promise.all(texts.map((text) => stream(client, text)));
  const used = texts.map(() =>
    exactly("messages", "claude-sonnet-5-5", { input: 5, output: 7 }, 5 * 3000 + 7 * 15_000),
  );
  const results = await sameEveryWay(scene, anthropicClient, [{ name: "streams", call, used }]);
  assert.deepEqual(results.streams, texts.map(echo));
});
