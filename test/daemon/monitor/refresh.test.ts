import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { TokenSource } from "../../../src/daemon/monitor/refresh.ts";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import type { OAuth2Auth } from "../../../src/providers/schema.ts";
import type { Credential } from "../../../src/store/credentials.ts";
import { putRotation } from "../../../src/store/rotations.ts";
import type { Vault } from "../../../src/store/vault.ts";
import { callStandIn } from "../../support/call-stand-in.ts";
import { CATALOG } from "../../support/rotation-scene.ts";
import type { ReceivedRequest, StandInAnswer } from "../../support/stand-in.ts";
import { fields, newCredential, newVault, reveal, START_MS } from "../../support/vault-fixture.ts";

const LIFE_S = 900;

interface Scene {
  readonly vault: Vault;
  readonly source: TokenSource;
  readonly clock: { now: number };
  readonly alerts: Map<string, string>;
  readonly requests: readonly ReceivedRequest[];
  answer: (request: ReceivedRequest) => StandInAnswer | Promise<StandInAnswer>;
  /** Called before every write of the vault. */
  beforeWrite: () => void;
  credential(): Credential;
  /** A token as text, as the next exchange would get it. */
  take(version?: number): Promise<string>;
  restart(): TokenSource;
}

const KINDS = {
  "alpaca-broker": {
    host: "authx.alpaca.markets",
    values: { client_id: "CANARYID0123456789AB", client_secret: "CANARYsecret/+ &=" },
  },
  schwab: {
    host: "api.schwabapi.com",
    values: { app_key: "CANARYappkey", app_secret: "CANARYappsecret", refresh_token: "CANARYrefresh-0" },
  },
} as const;

async function scene(t: TestContext, kind: keyof typeof KINDS): Promise<Scene> {
  const clock = { now: START_MS + 1000 };
  const { vault } = await newVault(t, { now: () => clock.now });
  const { host, values } = KINDS[kind];
  const provider = CATALOG.get(kind);
  const rule = provider?.auth.find((each): each is OAuth2Auth => each.scheme === "oauth2");
  assert.ok(provider && rule);
  const hosts = provider.environments.get("live")?.hosts.map((each) => each.host) ?? [];
  vault.addCredential(
    newCredential("main", { provider: kind, category: "trading", hosts }),
    fields({ ...values }),
    "ana",
  );
  let serial = 0;
  const parts = await callStandIn(t, [host], (request) => made.answer(request));
  const alerts = new Map<string, string>();
  const deps = {
    call: parts.call,
    vault: {
      openFields: vault.openFields.bind(vault),
      write: ((work) => {
        made.beforeWrite();
        return vault.write(work);
      }) as Vault["write"],
    },
    alerts: {
      raise: (name: string, _object: string, _severity: string, message: string) => void alerts.set(name, message),
      clear: (name: string) => void alerts.delete(name),
    },
    onWrite: () => {},
    now: () => clock.now,
    random: () => 1,
  };
  let source = new TokenSource(deps);
  const made: Scene = {
    vault,
    clock,
    alerts,
    get source() {
      return source;
    },
    requests: parts.standIn.requests,
    beforeWrite: () => {},
    answer: () => token(`CANARYtoken-${++serial}`),
    credential: () => vault.getCredential("main"),
    take: async (version = 1) => {
      const taken = await source.take(made.credential(), version, rule);
      const opened = taken.open();
      const text = reveal(opened).access_token ?? "";
      for (const secret of opened.values()) secret.wipe();
      return text;
    },
    restart: () => {
      source = new TokenSource(deps);
      return source;
    },
  };
  return made;
}

function token(value: string, more: object = {}): StandInAnswer {
  return { body: JSON.stringify({ access_token: value, token_type: "Bearer", expires_in: LIFE_S, ...more }) };
}

/** Waits until so many requests arrived and what they began is done. */
async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 8_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error("it did not happen in time");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe("an access token", () => {
  test("of client credentials: asked for in the body, once for a hundred exchanges", async (t) => {
    const at = await scene(t, "alpaca-broker");
    const tokens = await Promise.all(Array.from({ length: 100 }, () => at.take()));
    assert.deepEqual(new Set(tokens), new Set(["CANARYtoken-1"]));
    assert.equal(at.requests.length, 1);
    const [request] = at.requests;
    assert.equal(request?.target, "/v1/oauth2/token");
    const form = Object.fromEntries(new URLSearchParams(request?.body.toString()));
    assert.deepEqual(form, {
      grant_type: "client_credentials",
      client_id: KINDS["alpaca-broker"].values.client_id,
      client_secret: KINDS["alpaca-broker"].values.client_secret,
    });
    assert.equal(request?.values("authorization").length, 0);
  });

  test("of a refresh token: the client shows itself with Basic", async (t) => {
    const at = await scene(t, "schwab");
    await at.take();
    const [request] = at.requests;
    assert.equal(request?.target, "/v1/oauth/token");
    assert.equal(request?.body.toString(), "grant_type=refresh_token&refresh_token=CANARYrefresh-0");
    const basic = Buffer.from("CANARYappkey:CANARYappsecret").toString("base64");
    assert.deepEqual(request?.values("authorization"), [`Basic ${basic}`]);
  });

  test("is renewed at three quarters of its life by one request, and the old one serves meanwhile", async (t) => {
    const at = await scene(t, "alpaca-broker");
    assert.equal(await at.take(), "CANARYtoken-1");
    at.clock.now += LIFE_S * 750 - 1;
    assert.equal(await at.take(), "CANARYtoken-1");
    assert.equal(at.requests.length, 1);
    const gate = Promise.withResolvers<void>();
    at.answer = async () => {
      await gate.promise;
      return token("CANARYtoken-2");
    };
    at.clock.now += 1;
    for (let n = 0; n < 50; n++) assert.equal(await at.take(), "CANARYtoken-1");
    await until(() => at.requests.length === 2);
    gate.resolve();
    const first = at.source.take(at.credential(), 1, rule("alpaca-broker"));
    await until(() => at.source.take(at.credential(), 1, rule("alpaca-broker")) !== first);
    assert.equal(await at.take(), "CANARYtoken-2");
    assert.equal(at.requests.length, 2);
  });

  test("is renewed without a request when it was used lately, and forgotten when it was not", async (t) => {
    const at = await scene(t, "alpaca-broker");
    await at.take();
    at.clock.now += LIFE_S * 700;
    const held = at.source.take(at.credential(), 1, rule("alpaca-broker"));
    at.clock.now += LIFE_S * 60;
    at.source.tick();
    await until(() => at.requests.length === 2);
    await until(() => at.source.take(at.credential(), 1, rule("alpaca-broker")) !== held);
    assert.equal(at.requests.length, 2);
    at.clock.now += LIFE_S * 3_000;
    at.source.tick();
    assert.equal(at.requests.length, 2);
    assert.match(await at.take(), /CANARYtoken-/);
    assert.equal(at.requests.length, 3);
  });

  test("goes on serving until its real end while the endpoint fails, with growing pauses and an alert", async (t) => {
    const at = await scene(t, "alpaca-broker");
    await at.take();
    at.answer = () => ({ status: 503, body: "CANARY" });
    at.clock.now += LIFE_S * 800;
    assert.equal(await at.take(), "CANARYtoken-1");
    await until(() => at.alerts.has("token_not_renewed"));
    assert.equal(
      at.alerts.get("token_not_renewed"),
      'credential "main" got no access token: the token endpoint answered 503 without JSON',
    );
    assert.equal(await at.take(), "CANARYtoken-1");
    assert.equal(at.requests.length, 2, "it waits before it asks again");
    at.clock.now += LIFE_S * 200;
    await assert.rejects(at.take(), (error) => {
      assert.ok(error instanceof ProxyError);
      assert.equal(error.code, "no_usable_credential");
      assert.doesNotMatch(error.message + error.publicMessage, /CANARY/);
      return true;
    });
    assert.equal(at.requests.length, 3);
    await assert.rejects(at.take(), ProxyError);
    assert.equal(at.requests.length, 3, "a second one waits too");
    at.answer = () => token("CANARYtoken-9");
    at.clock.now += 10_000;
    assert.equal(await at.take(), "CANARYtoken-9");
    assert.equal(at.alerts.size, 0);
  });

  test("refused with invalid_grant: an alert with the next step, and not asked for again and again", async (t) => {
    const at = await scene(t, "schwab");
    at.answer = () => ({ status: 400, body: '{"error":"invalid_grant","error_description":"CANARY"}' });
    const refused = (error: unknown): boolean => {
      assert.ok(error instanceof ProxyError);
      assert.match(error.publicMessage, /refuses credential "main" \(invalid_grant\); log in at the provider again/);
      return true;
    };
    await assert.rejects(at.take(), refused);
    for (let n = 0; n < 20; n++) await assert.rejects(at.take(), refused);
    assert.equal(at.requests.length, 1);
    assert.match(at.alerts.get("token_refused") ?? "", /sidekey credential rotate main/);
    at.vault.addVersion(
      "main",
      fields({ ...KINDS.schwab.values, refresh_token: "CANARYrefresh-new" }),
      "current",
      "ana",
    );
    at.answer = () => token("CANARYtoken-new");
    assert.equal(await at.take(2), "CANARYtoken-new");
    assert.equal(at.alerts.size, 0);
  });

  test("a rotated refresh token is on disk before the access token that came with it is used", async (t) => {
    const at = await scene(t, "schwab");
    at.answer = () => token("CANARYtoken-A", { refresh_token: "CANARYrefresh-1" });
    let used = false;
    at.beforeWrite = () => assert.equal(used, false);
    assert.equal(await at.take(), "CANARYtoken-A");
    used = true;
    const { versions, id } = at.credential();
    assert.deepEqual(
      versions.map(({ number, stage }) => [number, stage]),
      [
        [1, "revoked"],
        [2, "current"],
      ],
    );
    assert.deepEqual(reveal(at.vault.openFields(id, 2, "test")), {
      ...KINDS.schwab.values,
      refresh_token: "CANARYrefresh-1",
    });
    // Exchanges that chose version 1 a moment ago, and those that choose version 2, have the same token.
    assert.equal(await at.take(1), "CANARYtoken-A");
    assert.equal(await at.take(2), "CANARYtoken-A");
    assert.equal(at.requests.length, 1);
    at.restart();
    at.answer = (request) => token(`CANARY-after-${request.body.toString().split("=").pop()}`);
    assert.equal(await at.take(2), "CANARY-after-CANARYrefresh-1");
    assert.doesNotMatch(JSON.stringify(at.vault.listAudit()), /CANARY/);
  });

  test("when the new refresh token cannot be written the old access token serves, and nothing is asked for twice", async (t) => {
    const at = await scene(t, "schwab");
    assert.equal(await at.take(), "CANARYtoken-1");
    at.answer = () => token("CANARYtoken-B", { refresh_token: "CANARYrefresh-1" });
    at.beforeWrite = () => {
      throw new Error("ENOSPC: CANARY");
    };
    at.clock.now += LIFE_S * 800;
    assert.equal(await at.take(), "CANARYtoken-1");
    await until(() => at.alerts.has("token_not_renewed"));
    assert.match(at.alerts.get("token_not_renewed") ?? "", /the vault could not be read or written$/);
    at.clock.now += 60_000;
    assert.equal(await at.take(), "CANARYtoken-1");
    at.beforeWrite = () => {};
    at.clock.now += 60_000;
    await at.take();
    await until(() => at.credential().versions.length === 2);
    assert.equal(at.requests.length, 2, "the spent refresh token was shown again");
    assert.equal(await at.take(2), "CANARYtoken-B");
  });

  test("a write-back during a rotation goes on with it under the new number", async (t) => {
    const at = await scene(t, "schwab");
    at.vault.addVersion("main", fields({ ...KINDS.schwab.values, refresh_token: "CANARYnext" }), "pending", "ana");
    const { id } = at.credential();
    const pace = { steps: [5, 100], step: 0, stepMs: 1000, graceMs: 1000 };
    const times = {
      startedAt: START_MS,
      since: START_MS,
      startedBy: "ana",
      attempts: 0,
      nextTryAt: null,
      problem: null,
    };
    at.vault.write((tx) => {
      putRotation(tx, id, { phase: "ramping", from: 1, to: 2, ...pace, ...times, automatic: null });
      tx.note({ actor: "ana", action: "rotation.begin", object: "credential:main", detail: {} });
    });
    at.answer = () => token("CANARYtoken-R", { refresh_token: "CANARYrotated" });
    await at.take(2);
    const { getRotation } = await import("../../../src/store/rotations.ts");
    const rotation = at.vault.read((view) => getRotation(view, id));
    assert.deepEqual([rotation?.from, rotation?.to], [1, 3]);
    assert.equal(at.credential().versions.find(({ number }) => number === 3)?.stage, "pending");
    assert.equal(at.credential().versions.find(({ number }) => number === 1)?.stage, "current");
  });

  test("the fields go only to a token endpoint that the credential is bound to", async (t) => {
    const at = await scene(t, "alpaca-broker");
    const wrong = { ...at.credential(), hosts: ["broker-api.alpaca.markets"] };
    const taken = async () => at.source.take(wrong, 1, rule("alpaca-broker"));
    await assert.rejects(taken(), ProxyError);
    assert.match(at.alerts.get("token_not_renewed") ?? "", /not bound to authx\.alpaca\.markets/);
    assert.equal(at.requests.length, 0);
  });

  test("is nowhere in clear in what the token source holds", async (t) => {
    const at = await scene(t, "alpaca-broker");
    await at.take();
    const { inspect } = await import("node:util");
    assert.doesNotMatch(inspect(at.source, { depth: 9, showHidden: true }), /CANARYtoken/);
    at.source.clear();
    await at.take();
    assert.equal(at.requests.length, 2);
  });
});

function rule(kind: string): OAuth2Auth {
  const found = CATALOG.get(kind)?.auth.find((each): each is OAuth2Auth => each.scheme === "oauth2");
  assert.ok(found);
  return found;
}
