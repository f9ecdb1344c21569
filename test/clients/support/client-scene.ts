import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import type { TestContext } from "node:test";
import { baseUrlEnvironment, serviceEnvironment } from "../../../src/cli/environment.ts";
import { writeTrustFiles } from "../../../src/daemon/ingress/trust-bundle.ts";
import { findCanary } from "../../support/canary.ts";
import { type RunningSidekey, startSidekey } from "../../support/running-sidekey.ts";
import { type ReceivedRequest, type StandIn, type StandInAnswer, startStandIn } from "../../support/stand-in.ts";
import { anthropicAnswer, openaiAnswer } from "./ai-answers.ts";
import { json } from "./answer-parts.ts";
import { alpacaAnswer, fmpAnswer } from "./market-answers.ts";
import { acceptRealtime } from "./realtime-answer.ts";

export const HOSTS = {
  openai: "api.openai.com",
  anthropic: "api.anthropic.com",
  alpaca: "paper-api.alpaca.markets",
  fmp: "financialmodelingprep.com",
} as const;

const POLICY = `
version: 1
clients: { app: { token: true } }
routes:
  openai: { provider: openai, credentials: [openai], clients: [app] }
  anthropic: { provider: anthropic, credentials: [anthropic], clients: [app] }
  alpaca: { provider: alpaca, environment: paper, hosts: [${HOSTS.alpaca}], credentials: [alpaca], clients: [app] }
  fmp: { provider: fmp, credentials: [fmp], clients: [app] }
`;

/** A daemon with four routes of the shipped catalog, and behind them providers that want the real key and nothing else. */
export interface ClientScene {
  readonly sidekey: RunningSidekey;
  readonly token: string;
  readonly standIn: StandIn;
  /** `http://127.0.0.1:port` */
  readonly origin: string;
  /** The whole environment of a service that is sent through the proxy, and `more` for the service itself. */
  throughProxy(more?: Readonly<Record<string, string>>): Record<string, string>;
  /** The whole environment of a service whose SDKs get a base URL, with the token as their key. */
  byBaseUrl(more?: Readonly<Record<string, string>>): Record<string, string>;
  /** Asserts that `count` requests arrived since the last time, each with its key and without a trace of the token. */
  arrived(count: number): readonly ReceivedRequest[];
  /** How many of all requests that arrived took which form, by sidekey's own record. */
  forms(): Promise<Record<string, number>>;
}

interface Keys {
  readonly openai: string;
  readonly anthropic: string;
  readonly alpacaId: string;
  readonly alpacaSecret: string;
  readonly fmp: string;
}

/** Starts it all; everything stops when the test ends. */
export async function startClientScene(t: TestContext): Promise<ClientScene> {
  const keys = makeKeys();
  const problems: string[] = [];
  let token = "";
  const standIn = await startStandIn(t, {
    hostnames: Object.values(HOSTS),
    requireKey: (request) => {
      const found = problemsOf(request, keys, token);
      problems.push(...found);
      return found.length === 0;
    },
    handler: answer,
  });
  const leads = { port: standIn.port, caPem: standIn.caPem };
  const sidekey = await startSidekey(t, {
    policy: POLICY,
    credentials: credentialsOf(keys),
    hosts: Object.fromEntries(Object.values(HOSTS).map((host) => [host, leads])),
  });
  token = sidekey.tokens.app ?? "";
  assert.match(token, /^skc_/);
  writeTrustFiles(sidekey.dataDir, sidekey.caPem);
  const proxyUrl = sidekey.proxyUrl("app");
  const system = { PATH: process.env.PATH ?? "", HOME: process.env.HOME ?? sidekey.dataDir, LANG: "C.UTF-8" };
  // After a 401 sidekey asks about the key itself.
  const ofClients = () => standIn.requests.filter((request) => !request.values("user-agent").includes("sidekey"));
  let seen = 0;
  return {
    sidekey,
    token,
    standIn,
    origin: `http://127.0.0.1:${sidekey.port}`,
    throughProxy: (more) => ({
      ...system,
      ...Object.fromEntries(serviceEnvironment({ proxyUrl, dataDir: sidekey.dataDir })),
      ...more,
    }),
    byBaseUrl: (more) => ({ ...system, ...Object.fromEntries(baseUrlEnvironment(proxyUrl)), ...more }),
    arrived: (count) => {
      assert.deepEqual([...problems, ...standIn.problems, ...standIn.handshakeErrors], []);
      const fresh = ofClients().slice(seen);
      seen = ofClients().length;
      assert.equal(
        fresh.length,
        count,
        `arrived: ${fresh.map((one) => `${one.method} ${one.target.split("?")[0]}`).join(", ")}`,
      );
      assert.ok(!sidekey.log().includes(token), "the token is in the log");
      return fresh;
    },
    forms: async () => {
      const forms: Record<string, number> = {};
      for (const { form } of await sidekey.requestsLogged(ofClients().length)) {
        forms[String(form)] = (forms[String(form)] ?? 0) + 1;
      }
      return forms;
    },
  };
}

function makeKeys(): Keys {
  const random = (bytes: number): string => randomBytes(bytes).toString("hex");
  return {
    openai: `sk-${random(24)}`,
    anthropic: `sk-ant-api03-${random(54)}`,
    alpacaId: `PK${random(9).toUpperCase()}`,
    alpacaSecret: random(20),
    fmp: random(16),
  };
}

function credentialsOf(keys: Keys) {
  return {
    openai: { provider: "openai", hosts: [HOSTS.openai], fields: { api_key: keys.openai } },
    anthropic: { provider: "anthropic", hosts: [HOSTS.anthropic], fields: { api_key: keys.anthropic } },
    alpaca: {
      provider: "alpaca",
      environment: "paper",
      hosts: [HOSTS.alpaca],
      fields: { key_id: keys.alpacaId, secret_key: keys.alpacaSecret },
    },
    fmp: { provider: "fmp", hosts: [HOSTS.fmp], fields: { api_key: keys.fmp } },
  };
}

function answer(request: ReceivedRequest, socket: Socket): StandInAnswer | undefined {
  switch (request.values("host")[0]) {
    case HOSTS.openai:
      return acceptRealtime(request, socket) ? undefined : openaiAnswer(request);
    case HOSTS.anthropic:
      return anthropicAnswer(request);
    case HOSTS.alpaca:
      return alpacaAnswer(request);
    case HOSTS.fmp:
      return fmpAnswer(request);
    default:
      return json({ message: "no such provider" }, 421);
  }
}

/** Where each provider's key has to be, given the request's host; every other place has to be empty. */
function expectedPlaces(host: string, keys: Keys): Record<string, string[]> {
  const none = { authorization: [], "x-api-key": [], "api-key": [], apikey: [] };
  const pair = { "apca-api-key-id": [keys.alpacaId], "apca-api-secret-key": [keys.alpacaSecret] };
  if (host === HOSTS.openai) return { ...none, authorization: [`Bearer ${keys.openai}`] };
  if (host === HOSTS.anthropic) return { ...none, "x-api-key": [keys.anthropic] };
  if (host === HOSTS.alpaca) return { ...none, ...pair };
  return none;
}

/** What a strict provider would complain about: a missing, wrong or second key, and anything that belongs to sidekey. */
function problemsOf(request: ReceivedRequest, keys: Keys, token: string): string[] {
  const host = request.values("host").join();
  const problems: string[] = [];
  const complain = (what: string): void => {
    problems.push(`${request.method} ${host}${request.target.split("?")[0]}: ${what}`);
  };
  if (request.servername !== host) complain(`SNI is ${request.servername}`);
  for (const [name, values] of Object.entries(expectedPlaces(host, keys))) {
    if (request.values(name).join("|") !== values.join("|")) complain(`${name} is wrong`);
  }
  const query = new URLSearchParams(request.target.split("?")[1] ?? "");
  const expected = host === HOSTS.fmp ? keys.fmp : "";
  if (query.getAll("apikey").join("|") !== expected) complain("the query parameter apikey is wrong");
  const text = request.bytes.toString("latin1");
  const count = Object.values(keys).reduce((sum, key) => sum + text.split(key).length - 1, 0);
  if (count !== (host === HOSTS.alpaca ? 2 : 1)) complain(`${count} keys`);
  if (text.includes("skc_") || text.includes("placeholder")) complain("something of the client's token or key is left");
  if (findCanary([request.bytes], { text: token, bytes: Buffer.from(token) }).length > 0) complain("the token is left");
  for (const [name] of request.headers) if (/^(proxy|sidekey)-/i.test(name)) complain(`${name} is left`);
  return problems;
}
