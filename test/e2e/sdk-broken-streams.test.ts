import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { eventStream, jsonBody } from "../clients/support/answer-parts.ts";
import type { StandInHandler } from "../support/stand-in.ts";
import { messageEvents } from "./anthropic-answers.ts";
import { anthropicClient, anthropicProvider, INPUT, INPUT_COST } from "./anthropic-provider.ts";
import { chatEvents } from "./openai-answers.ts";
import { openAiClient, openAiProvider } from "./openai-provider.ts";
import { type Calls, cut, sameEveryWay, stalled, startSdkScene, type Used } from "./sdk-scene.ts";

/** Streams that do not reach their end, each in three ways: the client leaves, the provider does, or it says that it fails. */

const TIMEOUT = { timeout: 60_000 };
/** How much of each stream arrives. */
const EVENTS = 6;
const MESSAGES = [{ role: "user" as const, content: "grüße" }];

/** The model says in which way it breaks; all of them are of the same length. */
function breaking(
  events: (body: Record<string, unknown>) => { event?: string; data: object }[],
  error: object,
): StandInHandler {
  return (request, socket) => {
    const body = jsonBody(request);
    const begun = events(body).slice(0, EVENTS);
    if (body.model === "stall") return stalled(eventStream(begun), socket);
    if (body.model === "gzips") return stalled(eventStream(begun), socket, true);
    if (body.model === "break") return cut(eventStream(begun), socket);
    return eventStream([...begun, error as { data: object }]);
  };
}

/** Reads to the end, or until as much has come as will come; what came, and how it ended. */
async function read(
  items: (signal: AbortSignal) => Promise<AsyncIterable<unknown>>,
  enough: number,
): Promise<{ came: unknown[]; ended: unknown }> {
  const leaving = new AbortController();
  const came: unknown[] = [];
  try {
    for await (const item of await items(leaving.signal)) {
      came.push(item);
      if (came.length === enough) leaving.abort();
    }
    return { came, ended: "quietly" };
  } catch (error) {
    if (error instanceof OpenAI.APIError || error instanceof Anthropic.APIError) {
      return { came, ended: [error.constructor.name, error.status, error.type, error.message, error.error] };
    }
    assert.ok(error instanceof Error);
    return { came, ended: [error.constructor.name, error.message] };
  }
}

const streamOf = (client: OpenAI, model: string) => (signal: AbortSignal) =>
  client.chat.completions.create({ model, messages: MESSAGES, stream: true }, { signal });

/** A quarter of the bytes of the request, and of "Grüße aus München — 日本", which came. */
const chat = (partial: boolean): Used => ({
  operation: "chat",
  model: "gpt-4o-2024-08-06",
  quality: "estimated",
  partial,
  units: { input: 20, output: 8 },
  cost: 20 * 2500 + 8 * 10_000,
});

const CHATS: readonly Calls<OpenAI>[] = [
  { name: "the client leaves", call: (client) => read(streamOf(client, "stall"), EVENTS), used: [chat(true)] },
  { name: "the client leaves gzip", call: (client) => read(streamOf(client, "gzips"), EVENTS), used: [chat(true)] },
  { name: "the provider leaves", call: (client) => read(streamOf(client, "break"), 99), used: [chat(true)] },
  { name: "it fails", call: (client) => read(streamOf(client, "fails"), 99), used: [chat(false)] },
];

test("a chat that breaks off is the same to the SDK, and what was delivered of it is counted", TIMEOUT, async (t) => {
  const error = {
    message: "The server had an error while processing your request.",
    type: "server_error",
    param: null,
  };
  const handler = breaking(chatEvents, { data: { error: { ...error, code: null } } });
  const results = await sameEveryWay(await startSdkScene(t, { ...openAiProvider, handler }), openAiClient, CHATS);
  for (const [name, { came }] of Object.entries(results as Record<string, { came: unknown[] }>)) {
    assert.equal(came.length, EVENTS, name);
  }
});

const messagesOf = (client: Anthropic, model: string) => (signal: AbortSignal) =>
  client.messages.create({ model, max_tokens: 100, messages: MESSAGES, stream: true }, { signal });

/** The ping is not told. */
const TOLD = EVENTS - 1;
/** "Okay, let's check" is what came. */
const message = (partial: boolean): Used => ({
  operation: "messages",
  model: "claude-sonnet-5-5-20260901",
  quality: "estimated",
  partial,
  units: { ...INPUT, output: 5 },
  cost: INPUT_COST + 5 * 15_000,
});

const STREAMS: readonly Calls<Anthropic>[] = [
  { name: "the client leaves", call: (client) => read(messagesOf(client, "stall"), TOLD), used: [message(true)] },
  { name: "the client leaves gzip", call: (client) => read(messagesOf(client, "gzips"), TOLD), used: [message(true)] },
  { name: "the provider leaves", call: (client) => read(messagesOf(client, "break"), 99), used: [message(true)] },
  { name: "it fails", call: (client) => read(messagesOf(client, "fails"), 99), used: [message(false)] },
  {
    name: "it fails the helper",
    call: async (client) => {
      const stream = client.messages.stream({ model: "fails", max_tokens: 100, messages: MESSAGES });
      const events: unknown[] = [];
      stream.on("text", (text) => events.push(text));
      const error = await stream.finalMessage().catch((failure: unknown) => failure);
      assert.ok(error instanceof Anthropic.APIError);
      return [error.constructor.name, error.status, error.type, error.message, events];
    },
    used: [message(false)],
  },
];

test(
  "a message that breaks off is the same to the SDK, and its start and what was delivered count",
  TIMEOUT,
  async (t) => {
    const error = { type: "error", error: { type: "overloaded_error", message: "Overloaded" } };
    const handler = breaking(messageEvents, { event: "error", data: error });
    const scene = await startSdkScene(t, { ...anthropicProvider, handler });
    const results = await sameEveryWay(scene, anthropicClient, STREAMS);
    for (const name of ["the client leaves", "the client leaves gzip", "the provider leaves", "it fails"]) {
      assert.equal((results[name] as { came: unknown[] }).came.length, TOLD, name);
    }
  },
);
