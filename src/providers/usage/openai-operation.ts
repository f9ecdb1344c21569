import type { RequestHead } from "./usage.ts";

/** What is called of an API in OpenAI's shape. `free`: answers that name tokens or models, but cost nothing. */
export type OpenAiOperation =
  | "chat"
  | "completions"
  | "responses"
  | "messages"
  | "embeddings"
  | "images"
  | "transcription"
  | "speech"
  | "moderation"
  | "free"
  | "other";

/**
 * Ends of paths, longest first: what stands before differs from provider to provider (`/v1`, `/openai/v1`, `/api/v1`,
 * `/openai/deployments/{name}`, `/v1beta/openai`, nothing). Only POST is billed; reading a stored answer again is not.
 */
const ENDINGS: readonly (readonly [string, OpenAiOperation])[] = [
  ["/chat/completions", "chat"],
  ["/agents/completions", "chat"],
  ["/completions", "completions"],
  ["/responses/input_tokens", "free"],
  ["/messages/count_tokens", "free"],
  ["/responses/compact", "responses"],
  ["/responses", "responses"],
  ["/decisions", "responses"],
  // Perplexity's name for it.
  ["/v1/agent", "responses"],
  ["/messages", "messages"],
  ["/embeddings", "embeddings"],
  ["/images/generations", "images"],
  ["/images/edits", "images"],
  ["/images/variations", "images"],
  ["/audio/transcriptions", "transcription"],
  ["/audio/translations", "transcription"],
  ["/audio/speech", "speech"],
  ["/moderations", "moderation"],
  ["/files", "free"],
  ["/uploads", "free"],
];

export function openAiOperation({ method, path }: Pick<RequestHead, "method" | "path">): OpenAiOperation {
  if (method === "GET" || method === "HEAD" || method === "DELETE" || method === "OPTIONS") return "free";
  if (method !== "POST") return "other";
  const end = path.endsWith("/") ? path.slice(0, -1) : path;
  return ENDINGS.find(([ending]) => end.endsWith(ending))?.[1] ?? "other";
}

/** The deployment in a path of Azure, which stands for the model; null when there is none. */
export function deploymentOf(path: string): string | null {
  return /\/deployments\/([^/]{1,128})\//.exec(path)?.[1] ?? null;
}
