// A service that knows nothing of sidekey: the OpenAI SDK as its environment says.
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0 });
const model = "gpt-test";
const messages = [{ role: "user" as const, content: "grüße" }];

async function streamedChat(): Promise<string> {
  let text = "";
  for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
    text += chunk.choices[0]?.delta.content ?? "";
  }
  return text;
}

async function helperStream(): Promise<string[]> {
  const runner = client.chat.completions.stream({ model, messages, stream_options: { include_usage: true } });
  return [(await runner.finalContent()) ?? "", String((await runner.totalUsage()).total_tokens)];
}

async function streamedResponse(): Promise<string> {
  let text = "";
  for await (const event of await client.responses.create({ model, input: "grüße", stream: true })) {
    if (event.type === "response.output_text.delta") text += event.delta;
  }
  return text;
}

async function failure(status: number): Promise<unknown> {
  try {
    await client.chat.completions.create({ model: `fails-${status}`, messages });
    return "no error";
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    return [error.constructor.name, error.status, error.code, error.message, error.requestID];
  }
}

const results = {
  models: (await client.models.list()).data.map(({ id }) => id),
  chat: (await client.chat.completions.create({ model, messages })).choices[0]?.message.content,
  streamedChat: await streamedChat(),
  helperStream: await helperStream(),
  response: (await client.responses.create({ model, input: "grüße" })).output_text,
  streamedResponse: await streamedResponse(),
  failures: [await failure(401), await failure(429), await failure(500)],
  file: (await client.files.create({ purpose: "assistants", file: new File(["text\r\n".repeat(20_000)], "notes.txt") }))
    .id,
};
process.stdout.write(`${JSON.stringify(results)}\n`);
