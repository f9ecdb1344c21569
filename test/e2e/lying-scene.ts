import assert from "node:assert/strict";
import type { Socket } from "node:net";
import type { TestContext } from "node:test";
import { pause } from "../support/running-sidekey.ts";
import { type ReceivedRequest, startStandIn } from "../support/stand-in.ts";
import { type Answer, type Ask, type Form, type FormClient, type FormTarget, formClient } from "./form-client.ts";
import { HOST, type OneRoute, oneRoute, PRICES } from "./one-route.ts";

/** What an honest answer uses. */
const HONEST_TOKENS = 7;
const HONEST_BODY = honestBody();
/** What a call of `chatAsk` may use at most: its output limit, and every byte of its body as a token of input. */
export const MAX_TOKENS = 1000;
/** The largest count of a usage that is believed. */
export const MAX_COUNT = 1_000_000_000_000;
const BUDGET = 1_000_000_000_000;

/** Bytes that are written as they are, or something that is done to the connection. Strings are latin1. */
export type Lie = string | Buffer | ((socket: Socket, request: ReceivedRequest) => void);

/** What one lie came to. */
export interface Told {
  readonly answer: Answer;
  /** As `status`, then the body or sidekey's error, then `whole` or `cut`. */
  readonly text: string;
  /** The one line of the log. */
  readonly line: Record<string, unknown>;
  /** Tokens that the budget holds for it afterwards. */
  readonly charged: number;
}

export interface LyingScene {
  readonly sidekey: OneRoute;
  /** Requests that reached the provider, without sidekey's own checks of keys. */
  asked(): number;
  /** A client that asks what `chatAsk` says; the provider answers with the lie, and then honestly again. */
  lie(lie: Lie, options?: { readonly form?: Form; readonly ask?: Ask }): Promise<Told>;
  /** Sets the lie for the next request, for tests that ask in their own way. */
  next(lie: Lie): void;
  /** What is left of the budget in tokens, and of the one concurrent place. */
  left(): Promise<{ readonly tokens: number; readonly places: number }>;
  /** Two honest calls go through, cost what they cost, and leave nothing behind. */
  well(): Promise<void>;
  metrics(): Promise<string>;
  client(t: TestContext): FormClient;
}

export function chatAsk(more: object = {}): Ask {
  return {
    method: "POST",
    path: "/v1/chat/completions",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model: "gpt-t",
      messages: [{ role: "user", content: "hello" }],
      max_tokens: MAX_TOKENS,
      ...more,
    }),
  };
}

/** An answer with this body, well framed. */
export function jsonAnswer(body: string | Buffer, fields = "", status = 200): Buffer {
  const bytes = Buffer.from(body as string, "utf8");
  const head = `HTTP/1.1 ${status} X\r\nContent-Type: application/json\r\n${fields}Content-Length: ${bytes.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), bytes]);
}

/** An event stream that ends with its connection. */
export function eventAnswer(body: string | Buffer): Lie {
  return (socket) => {
    socket.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
    socket.end(body);
  };
}

/**
 * A daemon with one route that has one concurrent place and a strict budget of tokens: whatever a lie leaves behind, the
 * next requests show it.
 */
export async function lyingScene(t: TestContext, more = "", limits = ""): Promise<LyingScene> {
  let next: Lie | null = null;
  let asked = 0;
  const open = new Set<Socket>();
  const standIn = await startStandIn(t, {
    hostnames: [HOST],
    handler: (request, socket) => {
      if (!open.has(socket)) socket.once("close", () => open.delete(socket));
      open.add(socket);
      if (request.target === "/v1/models") return { body: '{"data":[]}' };
      asked++;
      const lie = next;
      next = null;
      if (lie === null) return jsonAnswer(HONEST_BODY);
      if (typeof lie !== "function") return lie;
      lie(socket, request);
    },
  });
  const own = `{ name: places, per: [route], concurrent: 1, wait: 10s }, { name: tokens, per: [route], tokens: ${BUDGET}/day, zone: UTC, strict: true }`;
  const extra = more === "" ? "" : `, ${more}`;
  const sidekey = await oneRoute(t, standIn, `limits: [ ${own}${limits} ]${extra}`, { prices: PRICES });
  const scene = new Scene(t, sidekey, () => asked);
  const set = (lie: Lie): void => {
    next = lie;
  };
  await scene.well();
  return {
    sidekey,
    asked: () => asked,
    next: set,
    left: () => scene.left(),
    well: () => scene.well(),
    metrics: () => scene.metrics(),
    client: (own) => formClient(own, "absolute", sidekey),
    lie: async (lie, options = {}) => {
      set(lie);
      const told = await scene.told(options);
      next = null;
      await scene.well();
      // One place, so one connection: every other one was given up.
      await until(() => open.size <= 1);
      return told;
    },
  };
}

class Scene {
  readonly #t: TestContext;
  readonly #sidekey: OneRoute;
  readonly #asked: () => number;

  constructor(t: TestContext, sidekey: OneRoute, asked: () => number) {
    this.#t = t;
    this.#sidekey = sidekey;
    this.#asked = asked;
  }

  async told({ form = "absolute", ask = chatAsk() }: { readonly form?: Form; readonly ask?: Ask }): Promise<Told> {
    const logged = this.#sidekey.requests().length;
    const before = await this.left();
    const answer = await formClient(this.#t, form, this.#sidekey as FormTarget).ask(ask);
    const lines = await this.#sidekey.requestsLogged(logged + 1);
    assert.equal(lines.length, logged + 1, "exactly one outcome");
    const line = lines.at(-1) ?? {};
    const after = await this.left();
    assert.equal(after.places, 1, "the place was given back");
    const [error] = answer.values("sidekey-error");
    const shown = error ?? (answer.body.length > 200 ? `${answer.body.length} bytes` : answer.body.toString("latin1"));
    const text = `${answer.status} ${shown} ${answer.complete ? "whole" : "cut"}`;
    if (error !== undefined) assert.equal(JSON.parse(String(answer.body)).code, error, "a problem document");
    return { answer, text, line, charged: before.tokens - after.tokens };
  }

  async well(): Promise<void> {
    const before = this.#sidekey.requests().length === 0 ? BUDGET : (await this.left()).tokens;
    const asked = this.#asked();
    const logged = this.#sidekey.requests().length;
    // Two, so that failures are never half of what the circuit breaker has seen.
    for (let n = 0; n < 2; n++) {
      const answer = await formClient(this.#t, "absolute", this.#sidekey).ask(chatAsk());
      assert.equal(`${answer.status} ${answer.body}`, `200 ${HONEST_BODY}`);
      assert.equal(answer.complete, true);
    }
    await this.#sidekey.requestsLogged(logged + 2);
    assert.equal(this.#asked(), asked + 2);
    assert.deepEqual(await this.left(), { tokens: before - 2 * HONEST_TOKENS, places: 1 });
  }

  async left(): Promise<{ tokens: number; places: number }> {
    const metrics = await this.metrics();
    const of = (limit: string): number =>
      Number(
        new RegExp(`^sidekey_limit_remaining\\{route="openai",limit="${limit}"\\} (\\S+)$`, "m").exec(metrics)?.[1],
      );
    return { tokens: of("tokens"), places: of("places") };
  }

  async metrics(): Promise<string> {
    return (await fetch(`${this.#sidekey.metricsUrl}/metrics`)).text();
  }
}

function honestBody(): string {
  const message = { role: "assistant", content: "hi" };
  const usage = { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 };
  return JSON.stringify({
    id: "c",
    object: "chat.completion",
    model: "gpt-t",
    choices: [{ index: 0, message }],
    usage,
  });
}

/**
 * The budget holds what was told or worked out; when there was no answer to be read, the most that the call can have
 * used. An estimate is never more than that either.
 */
export function assertCharged({ line, charged }: Told): void {
  if (line.usage === undefined)
    assert.ok(charged === 0 || (charged > MAX_TOKENS && charged < 2 * MAX_TOKENS), `${charged}`);
  else assert.equal(charged, Number(line.tokens_in ?? 0) + Number(line.tokens_out ?? 0));
  assert.ok(line.usage === "exact" || charged < 2 * MAX_TOKENS, `${charged} of ${line.usage}`);
}

/** One call that takes all, and one that is refused for it. What is left then. */
export async function outOfBudget(t: TestContext, scene: LyingScene): ReturnType<LyingScene["left"]> {
  const logged = scene.sidekey.requests().length;
  assert.equal((await scene.client(t).ask(chatAsk())).status, 200);
  await scene.sidekey.requestsLogged(logged + 1);
  const refused = await scene.client(t).ask(chatAsk());
  assert.deepEqual([refused.status, refused.values("sidekey-error")], [429, ["budget_exceeded"]]);
  await scene.sidekey.requestsLogged(logged + 2);
  return scene.left();
}

/** How often exchanges ended like this, by the metrics. */
export function countedAs(metrics: string, outcome: string): number {
  const line = new RegExp(`^sidekey_requests_total\\{[^}]*outcome="${outcome}"[^}]*\\} (\\d+)$`, "m").exec(metrics);
  return Number(line?.[1] ?? 0);
}

/** Waits for what has to become true; a test's own time limit ends it otherwise. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await pause(5);
}
