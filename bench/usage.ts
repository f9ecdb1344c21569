import { dialectOf } from "../src/providers/usage/dialects.ts";
import { hideAsked } from "../src/providers/usage/hide-asked.ts";
import type { AnswerHead, RequestHead, UsageDialect } from "../src/providers/usage/usage.ts";

/** One row of the suite. */
export interface UsageCost {
  readonly what: string;
  readonly nsPerKib: number;
}

interface Sample {
  readonly what: string;
  readonly head: RequestHead;
  readonly type: string;
  readonly chunks: readonly Buffer[];
}

const JSON_TYPE = "application/json";
const EVENTS = "text/event-stream; charset=utf-8";

/** What it costs to read the usage out of passing bytes, and to hide what was asked for: nanoseconds per KiB. */
export function usageCost(rounds: number): UsageCost[] {
  const openAi = dialectOf({ usage: { dialect: "openai" } });
  const chat = chatStream(500);
  const samples: readonly Sample[] = [
    sample("chat stream, one event in a chunk", "/v1/chat/completions", EVENTS, chat),
    sample("chat stream, 64 KiB chunks", "/v1/chat/completions", EVENTS, slices(Buffer.concat(chat), 65_536)),
    sample("embeddings, 100 KB", "/v1/embeddings", JSON_TYPE, slices(embeddings(100_000), 16_384)),
    sample("chat answer, 1 KB", "/v1/chat/completions", JSON_TYPE, [chatAnswer(1024)]),
  ];
  const rows = samples.map((each) => ({
    what: each.what,
    nsPerKib: cost(() => read(openAi, each), each.chunks, rounds),
  }));
  const hidden = cost(() => hide(chat), chat, rounds);
  return [...rows, { what: "chat stream, usage hidden", nsPerKib: hidden }];
}

/** CPU time, the best of several runs, because what the machine does meanwhile only ever adds to one. */
function cost(run: () => number, chunks: readonly Buffer[], rounds: number): number {
  const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const calls = Math.max(1, Math.ceil((rounds * 1024) / bytes));
  let best = Number.POSITIVE_INFINITY;
  for (let turn = 0; turn < 5; turn++) {
    const before = process.cpuUsage();
    let told = 0;
    for (let call = 0; call < calls; call++) told += run();
    if (told === 0) throw new Error("the benchmark's answers tell no usage");
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, ((user + system) * 1000) / ((calls * bytes) / 1024));
  }
  return best;
}

function read(dialect: UsageDialect, { head, type, chunks }: Sample): number {
  const answer: AnswerHead = { status: 200, contentType: type, field: () => null };
  const reader = dialect.reader(dialect.readRequest(head, null), answer);
  for (const chunk of chunks) reader.data(chunk);
  const { units, quality } = reader.end(true);
  return quality === "exact" ? (units.input ?? 0) : 0;
}

function hide(chunks: readonly Buffer[]): number {
  const filter = hideAsked();
  let passed = 0;
  for (const chunk of chunks) passed += filter.data(chunk).length;
  return passed;
}

function sample(what: string, path: string, type: string, chunks: readonly Buffer[]): Sample {
  return { what, head: { method: "POST", path, query: "", contentType: JSON_TYPE }, type, chunks };
}

function chatStream(chunks: number): Buffer[] {
  const head =
    '"id":"chatcmpl-CLxf6VStuacrIaxo8vDi3CgHCWd53","object":"chat.completion.chunk","created":1759350264,"model":"gpt-5-mini-2025-08-07","system_fingerprint":null';
  const event = (n: number): string =>
    `data: {${head},"choices":[{"index":0,"delta":{"content":" word${n}"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"chpqp0z3YDcaR"}\n\n`;
  const last = `data: {${head},"choices":[],"usage":{"prompt_tokens":19,"completion_tokens":${chunks},"total_tokens":${19 + chunks}}}\n\n`;
  return [...Array.from({ length: chunks }, (_, n) => event(n)), last, "data: [DONE]\n\n"].map((text) =>
    Buffer.from(text),
  );
}

function embeddings(bytes: number): Buffer {
  const numbers = Array.from({ length: Math.floor(bytes / 13) }, (_, n) => `-0.0${100_000_000 + n}`);
  return Buffer.from(
    `{"object":"list","data":[{"object":"embedding","index":0,"embedding":[${numbers.join(",")}]}],"model":"text-embedding-3-small","usage":{"prompt_tokens":8,"total_tokens":8}}`,
  );
}

function chatAnswer(bytes: number): Buffer {
  const rest =
    '{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"","refusal":null},"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0}}}';
  const content = "It is a sentence of an answer. ".repeat(100).slice(0, Math.max(0, bytes - rest.length));
  return Buffer.from(rest.replace('"content":""', `"content":"${content}"`));
}

function slices(whole: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(whole.length / size) }, (_, n) => whole.subarray(n * size, (n + 1) * size));
}
