// A service that knows nothing of sidekey: the Anthropic SDK as its environment says.
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ maxRetries: 0 });
const request = { model: "claude-test", max_tokens: 64, messages: [{ role: "user" as const, content: "grüße" }] };

function textOf(message: Anthropic.Message): string {
  return message.content.map((block) => (block.type === "text" ? block.text : "")).join("");
}

async function streamed(): Promise<string[]> {
  const seen: string[] = [];
  for await (const event of await client.messages.create({ ...request, stream: true })) {
    if (seen.at(-1) !== event.type) seen.push(event.type);
  }
  return seen;
}

async function helperStream(): Promise<unknown> {
  let text = "";
  const stream = client.messages.stream(request).on("text", (delta) => {
    text += delta;
  });
  const whole = await stream.finalMessage();
  return [text, textOf(whole), whole.usage.output_tokens];
}

async function failure(status: number): Promise<unknown> {
  try {
    await client.messages.create({ ...request, model: `fails-${status}` });
    return "no error";
  } catch (error) {
    if (!(error instanceof Anthropic.APIError)) throw error;
    return [error.constructor.name, error.status, error.error, error.requestID];
  }
}

const results = {
  message: textOf(await client.messages.create(request)),
  streamed: await streamed(),
  helperStream: await helperStream(),
  failures: [await failure(401), await failure(429), await failure(500)],
  file: (
    await client.files.upload({ file: new File(["text\r\n".repeat(20_000)], "notes.txt", { type: "text/plain" }) })
  ).id,
};
process.stdout.write(`${JSON.stringify(results)}\n`);
