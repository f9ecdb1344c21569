import { randomBytes } from "node:crypto";
import type { TestContext } from "node:test";
import { startSidekey } from "../support/running-sidekey.ts";
import {
  type ReceivedRequest,
  type StandIn,
  type StandInAnswer,
  type StandInHandler,
  startStandIn,
} from "../support/stand-in.ts";
import { type FormClient, formClient } from "./form-client.ts";
import { HOST, type OneRoute } from "./one-route.ts";

export const MAIN = `sk-main-${randomBytes(16).toString("hex")}`;
export const SPARE = `sk-spare-${randomBytes(16).toString("hex")}`;

export interface TwoKeys {
  readonly sidekey: OneRoute;
  readonly standIn: StandIn;
  readonly client: FormClient;
  /** What came from clients, each as `main POST /path`; without sidekey's own checks of keys. */
  asked(): string[];
}

/** Which of the two keys a request carries. */
export function keyOf(request: ReceivedRequest): "main" | "spare" | "none" {
  const [value = ""] = request.values("authorization");
  return value === `Bearer ${MAIN}` ? "main" : value === `Bearer ${SPARE}` ? "spare" : "none";
}

const isCheck = ({ method, target }: ReceivedRequest): boolean => method === "GET" && target === "/v1/models";

/** A sidekey whose one route has a pool of two keys; `more` is appended to the route's map. Checks find every key good. */
export async function twoKeys(
  t: TestContext,
  more: string,
  handler: (
    key: "main" | "spare" | "none",
    request: ReceivedRequest,
    socket: Parameters<StandInHandler>[1],
  ) => ReturnType<StandInHandler>,
): Promise<TwoKeys> {
  const good: StandInAnswer = { body: '{"data":[]}' };
  const standIn = await startStandIn(t, {
    hostnames: [HOST],
    handler: (request, socket) => (isCheck(request) ? good : handler(keyOf(request), request, socket)),
  });
  const route = `{ provider: openai, credentials: [main, spare], clients: [app, other]${more === "" ? "" : `, ${more}`} }`;
  const credential = (key: string) => ({ provider: "openai", hosts: [HOST], fields: { api_key: key } });
  const started = await startSidekey(t, {
    policy: `version: 1\nclients: { app: { token: true }, other: { token: true } }\nroutes:\n  openai: ${route}\n`,
    credentials: { main: credential(MAIN), spare: credential(SPARE) },
    clients: ["app", "other"],
    hosts: { [HOST]: { port: standIn.port, caPem: standIn.caPem } },
  });
  const sidekey = { ...started, host: HOST, route: "openai" };
  return {
    sidekey,
    standIn,
    client: formClient(t, "absolute", sidekey),
    asked: () =>
      standIn.requests.filter((each) => !isCheck(each)).map((each) => `${keyOf(each)} ${each.method} ${each.target}`),
  };
}
