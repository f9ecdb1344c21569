import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { pause, type RunningSidekey, startSidekey } from "../support/running-sidekey.ts";
import { type ReceivedRequest, type StandIn, type StandInAnswer, startStandIn } from "../support/stand-in.ts";

const HOSTS = ["broker-api.alpaca.markets", "authx.alpaca.markets", "data.alpaca.markets"];
const SECRET = "CANARYclientsecret0123456789";

interface Broker {
  readonly standIn: StandIn;
  readonly sidekey: RunningSidekey;
  /** How the token endpoint answers instead of with a token. */
  refuse: StandInAnswer | null;
  tokenRequests(): ReceivedRequest[];
  get(headers?: Record<string, string>): Promise<{ status: number; text: string }>;
}

/** A broker whose access tokens are good for two seconds, and one sidekey in front of it. */
async function broker(t: TestContext): Promise<Broker> {
  const good = new Map<string, number>();
  const handler = (request: ReceivedRequest): StandInAnswer => {
    if (request.target === "/v1/oauth2/token") {
      if (made.refuse) return made.refuse;
      const token = `CANARYaccess-${good.size + 1}`;
      good.set(token, performance.now() + 2_000);
      return { body: JSON.stringify({ access_token: token, token_type: "Bearer", expires_in: 2 }) };
    }
    const [authorization = ""] = request.values("authorization");
    const until = good.get(authorization.replace("Bearer ", "")) ?? 0;
    return performance.now() < until ? { body: "[]" } : { status: 401, body: '{"code":40110000}' };
  };
  const standIn = await startStandIn(t, { hostnames: HOSTS, handler });
  const at = { port: standIn.port, caPem: standIn.caPem };
  const sidekey = await startSidekey(t, {
    policy: `version: 1
clients: { app: { token: true } }
routes:
  broker: { provider: alpaca-broker, credentials: [main], clients: [app] }
`,
    credentials: {
      main: {
        provider: "alpaca-broker",
        category: "trading",
        hosts: HOSTS,
        fields: { client_id: "CANARYID0123456789AB", client_secret: SECRET },
      },
    },
    hosts: Object.fromEntries(HOSTS.map((host) => [host, at])),
  });
  const made: Broker = {
    standIn,
    sidekey,
    refuse: null,
    tokenRequests: () => standIn.requests.filter(({ target }) => target === "/v1/oauth2/token"),
    get: async (headers = {}) => {
      const own = { authorization: `Bearer ${sidekey.tokens.app}`, ...headers };
      const response = await fetch(`http://127.0.0.1:${sidekey.port}/broker/v1/accounts`, { headers: own });
      return { status: response.status, text: await response.text() };
    },
  };
  return made;
}

describe("a provider that takes access tokens", () => {
  test("gets a good one with every request, over several lives of the token and without a failed request", async (t) => {
    const at = await broker(t);
    const statuses = new Set<number>();
    let requests = 0;
    const until = performance.now() + 5_000;
    const client = async () => {
      while (performance.now() < until) {
        statuses.add((await at.get()).status);
        requests++;
        await pause(20);
      }
    };
    await Promise.all([client(), client(), client()]);
    assert.deepEqual([...statuses], [200]);
    const asked = at.tokenRequests().length;
    assert.ok(asked >= 3 && asked <= 5, `${asked} tokens for ${requests} requests in 5 s`);
    assert.doesNotMatch(at.sidekey.log(), /CANARY/);
  });

  test("never gets what the client sent in the place of the token, nor the stored secret", async (t) => {
    const at = await broker(t);
    assert.equal((await at.get()).status, 200);
    const api = at.standIn.requests.filter(({ target }) => target === "/v1/accounts");
    for (const request of api) {
      assert.deepEqual(request.values("authorization"), ["Bearer CANARYaccess-1"]);
      assert.ok(!request.bytes.includes(SECRET));
      assert.ok(!request.bytes.includes(at.sidekey.tokens.app ?? "-"));
    }
    assert.equal(api.length, 1);
  });

  test("answers 503 with the next step when the provider refuses the client, without asking again for each request", async (t) => {
    const at = await broker(t);
    at.refuse = { status: 401, body: '{"error":"invalid_client","error_description":"CANARY"}' };
    for (let n = 0; n < 5; n++) {
      const { status, text } = await at.get();
      assert.equal(status, 503);
      assert.match(text, /authx\.alpaca\.markets refuses credential .{1,2}main.{1,2} \(invalid_client\)/);
      assert.doesNotMatch(text, /CANARY/);
    }
    assert.equal(at.tokenRequests().length, 1);
    const lines = await at.sidekey.requestsLogged(5);
    assert.equal(lines[0]?.outcome, "no_usable_credential");
    assert.match(at.sidekey.log(), /"kind":"token_refused"/);
    assert.doesNotMatch(at.sidekey.log(), /CANARY/);
  });
});
