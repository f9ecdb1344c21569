import { anthropic, anthropicReader } from "./anthropic.ts";
import { askForUsage } from "./ask-usage.ts";
import { hideAsked } from "./hide-asked.ts";
import { openAiReader } from "./openai-answer.ts";
import { readEmbeddings, readImages, readModeration, readSpeech, readTranscription } from "./openai-media-request.ts";
import { deploymentOf, type OpenAiOperation, openAiOperation } from "./openai-operation.ts";
import { readCompletion, readResponses } from "./openai-request.ts";
import { openRouterCharge, perplexityCharge, type UsageHabits, xaiCharge } from "./openai-usage.ts";
import { isJson, plainFacts } from "./request-body.ts";
import type { BodyWindow, RequestFacts, RequestHead, UsageDialect } from "./usage.ts";

interface Variant extends UsageHabits {
  /** Streams of chats tell their usage only when asked. */
  readonly asks: boolean;
  /** Puts a prompt of its own before the messages, of a length that it does not tell. */
  readonly addsPrompt: boolean;
}

const PLAIN: Variant = { asks: false, addsPrompt: false, hiddenReasoning: false, charge: null };

/** OpenAI and Azure: streamed chats report usage when `stream_options.include_usage` asks for it. */
export const openAi = dialect({ ...PLAIN, asks: true });

/**
 * Providers with OpenAI's API whose streams report by themselves, so that asking would change what their clients get:
 * Mistral and DeepSeek with the last chunk of content, Groq there too (`x_groq.usage`). What Hugging Face's router does
 * depends on who serves the model; it is not asked either.
 */
export const openAiShaped = dialect(PLAIN);

/** `include_usage` "has no effect": usage and cost are always there. */
export const openRouter = dialect({ ...PLAIN, charge: openRouterCharge });

export const perplexity = dialect({ ...PLAIN, charge: perplexityCharge });

/**
 * Asked like OpenAI; its total counts reasoning beside the completion. A greeting is billed with some 200 tokens of
 * input, or some 700, by the model: no bound follows from the length of a request.
 */
export const xai = dialect({ ...PLAIN, asks: true, addsPrompt: true, charge: xaiCharge });

/** Gemini's compatible endpoint, whose total alone shows what was thought. Every chunk reports. */
export const geminiCompatible = dialect({ ...PLAIN, hiddenReasoning: true });

/** From this version on Azure knows `stream_options`; earlier ones refuse the request. */
const AZURE_ASKS_FROM = "2024-09-01";

function dialect(variant: Variant): UsageDialect {
  return {
    needsBody: (head) => isJson(head) && readsBody(openAiOperation(head)),
    readRequest: (head, body) => readRequest(head, body, variant),
    reader: (facts, answer) => {
      if (facts.operation === "messages") return anthropicReader(facts, answer);
      return openAiReader(facts, answer, facts.operation as OpenAiOperation, variant);
    },
    askForUsage: variant.asks ? askForUsage : null,
    hideAsked: variant.asks ? hideAsked : null,
  };
}

function readsBody(operation: OpenAiOperation): boolean {
  return operation !== "free" && operation !== "other" && operation !== "transcription";
}

function readRequest(head: RequestHead, body: BodyWindow | null, variant: Variant): RequestFacts {
  const operation = openAiOperation(head);
  const facts = factsOf(operation, head, body, variant.asks && canBeAsked(head));
  const atMost = variant.addsPrompt && facts.expected.input !== undefined ? null : facts.atMost;
  return { ...facts, model: facts.model ?? deploymentOf(head.path), atMost };
}

function factsOf(operation: OpenAiOperation, head: RequestHead, body: BodyWindow | null, asks: boolean): RequestFacts {
  switch (operation) {
    case "chat":
    case "completions":
      return readCompletion(operation, asks)(head, body);
    case "responses":
      return readResponses(head, body);
    case "messages":
      return anthropic.readRequest(head, body);
    case "embeddings":
      return readEmbeddings(head, body);
    case "images":
      return readImages(head, body);
    case "speech":
      return readSpeech(head, body);
    case "transcription":
      return readTranscription(head, body);
    case "moderation":
      return readModeration(head, body);
    case "free":
      return plainFacts("free");
    case "other":
      return plainFacts("other", { atMost: null });
  }
}

/** Azure's paths with a deployment carry a dated version; its newer ones, and everyone else's, do not. */
function canBeAsked({ path, query }: RequestHead): boolean {
  if (deploymentOf(path) === null) return true;
  const version = new URLSearchParams(query).get("api-version") ?? "";
  return version >= AZURE_ASKS_FROM;
}
