import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type StandIn, startStandIn } from "../support/stand-in.ts";
import { type Answer, type FormClient, formClient } from "./form-client.ts";
import { HOST, type OneRoute, oneRoute } from "./one-route.ts";

/** What a provider writes as its answer, and what it does with the connection after that; `stay` keeps the connection for the next request. */
export interface Lie {
  readonly bytes: string | Uint8Array;
  readonly after?: "end" | "drop" | "stay";
}

export const TOKENS = 1_000_000_000;
export const PLACES = 50;
/** The most that one of our calls is expected to use: its `max_tokens`, and a short prompt. */
export const EXPECTED = 150;

/** What a lie has left behind. */
export interface Told {
  readonly answer: Answer;
  /** The one request line of it. */
  readonly line: Record<string, unknown>;
  /** Tokens that the budget has lost by it. */
  readonly charged: number;
}

export interface LyingProvider {
  readonly sidekey: OneRoute;
  readonly standIn: StandIn;
  readonly client: FormClient;
  /**
   * Asks for a chat completion that is answered with this, and checks what must be true whatever it was: one outcome,
   * all places given back, a budget that has only lost, and a next request that is answered as if nothing had been.
   */
  tell(lie: Lie, path?: string): Promise<Told>;
  chat(path?: string): Promise<Answer>;
}

const BODY = JSON.stringify({ model: "gpt-t", max_tokens: 100, messages: [{ role: "user", content: "hello" }] });

/** A true answer, that used so many tokens. */
export function truth(input: number, output: number): string {
  const usage = { prompt_tokens: input, completion_tokens: output, total_tokens: input + output };
  return jsonAnswer(JSON.stringify({ object: "chat.completion", model: "gpt-t", choices: [], usage }));
}

export function jsonAnswer(body: string, more = ""): string {
  return `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n${more}Content-Length: ${Buffer.byteLength(body, "latin1")}\r\n\r\n${body}`;
}

export async function startLyingProvider(t: TestContext, more = ""): Promise<LyingProvider> {
  let next: Lie = { bytes: truth(7, 3) };
  const standIn = await startStandIn(t, {
    hostnames: [HOST],
    handler: (_request, socket) => {
      const { bytes, after = "stay" } = next;
      if (after === "stay") return bytes;
      socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes, () => {
        if (after === "end") socket.end();
        else socket.destroy();
      });
    },
  });
  const limits = `limits: [ { name: open, per: [client], concurrent: ${PLACES} }, { name: tokens, per: [client], tokens: ${TOKENS}/day } ]`;
  const sidekey = await oneRoute(t, standIn, `${limits}, timeouts: { headers: 5s, idle: 5s }${more}`);
  const client = formClient(t, "absolute", sidekey);
  const headers = { "content-type": "application/json" };
  const chat = (path = "/v1/chat/completions") => client.ask({ method: "POST", path, headers, body: BODY });
  let lines = 0;
  let tokensLeft = TOKENS;
  const settled = async (): Promise<{ line: Record<string, unknown>; charged: number }> => {
    const all = await sidekey.requestsLogged(++lines);
    assert.equal(all.length, lines, "exactly one outcome each");
    assert.equal(await limitRemaining(sidekey, "open"), PLACES);
    const left = await limitRemaining(sidekey, "tokens");
    const charged = tokensLeft - left;
    tokensLeft = left;
    assert.ok(charged >= 0, `a budget only loses, but got ${-charged} back`);
    return { line: all.at(-1) ?? {}, charged };
  };
  const assertWell = async (): Promise<void> => {
    const good = await chat();
    assert.deepEqual([good.status, good.complete, good.values("content-type")], [200, true, ["application/json"]]);
    assert.equal(JSON.parse(String(good.body)).usage.total_tokens, 10);
    assert.equal((await settled()).charged, 10);
  };
  return {
    sidekey,
    standIn,
    client,
    chat,
    tell: async (lie, path) => {
      next = lie;
      const answer = await chat(path);
      const { line, charged } = await settled();
      next = { bytes: truth(7, 3) };
      // Twice, because a provider that fails in half of its answers is left alone for a while.
      await assertWell();
      await assertWell();
      return { answer, line, charged };
    },
  };
}

/** The answer is sidekey's own, or it broke off: nothing that a client could take for a whole answer. */
export function assertNotCompleted({ answer, line }: Told, name: string): void {
  const own = answer.values("sidekey-error")[0];
  if (own === undefined) assert.deepEqual([answer.complete, line.outcome], [false, "truncated"], name);
  else assert.deepEqual([answer.status, own, line.outcome], [502, "upstream_protocol", "upstream_protocol"], name);
}

/** `sidekey_limit_remaining` of the one route. */
export async function limitRemaining({ metricsUrl }: OneRoute, limit: string): Promise<number> {
  const text = await (await fetch(`${metricsUrl}/metrics`)).text();
  const found = new RegExp(`^sidekey_limit_remaining\\{route="openai",limit="${limit}"\\} (\\S+)$`, "m").exec(text);
  return Number(found?.[1]);
}

/** One subtest for each lie, against one daemon. */
export function eachLie(
  title: string,
  lies: Readonly<Record<string, Lie>>,
  check: (told: Told, name: string) => void,
): void {
  test(title, { timeout: 60_000 }, async (t) => {
    const provider = await startLyingProvider(t);
    for (const [name, lie] of Object.entries(lies)) {
      await t.test(name, async () => check(await provider.tell(lie), name));
    }
  });
}
