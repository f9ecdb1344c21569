import { type AttemptNote, attemptsField } from "../../../src/daemon/pipeline/attempts-field.ts";
import { type Choice, createChooser, triedKey } from "../../../src/daemon/pipeline/choose.ts";
import { ProxyError } from "../../../src/daemon/pipeline/errors.ts";
import { PoolHealth, type VersionUse } from "../../../src/daemon/pipeline/pool-health.ts";
import { type Failure, retryVerdict } from "../../../src/daemon/pipeline/retry.ts";
import { RetryBudget } from "../../../src/daemon/pipeline/retry-budget.ts";
import type { Route } from "../../../src/policy/compile.ts";
import { classifyTraffic } from "../../../src/providers/classify-traffic.ts";
import { AUTHORITY, credential } from "./pool-fixture.ts";

/** What the provider answers to a request with this credential; null: it hangs up. */
export type ProviderModel = (credential: string, client: string, atMs: number) => number | null;

export interface Ended {
  /** Of the provider's answer that the client gets; null when sidekey answers. */
  readonly status: number | null;
  /** Sidekey's own answer. */
  readonly code: string | null;
  readonly field: string;
}

/** Requests against a provider that is a function, with the real chooser, health, verdict and budget. */
export function failoverScene(route: Route, names: readonly string[], provider: ProviderModel) {
  const credentials = names.map((name) => credential(name));
  const calls: { credential: string; client: string; atMs: number }[] = [];
  const held = new Map<string, number>();
  const refused = new Set<string>();
  let nowMs = 1_700_000_000_000;
  const now = () => nowMs;
  const health = new PoolHealth({
    usable: (id) => !refused.has(id),
    verifiedAt: () => null,
    heldUntil: (id) => held.get(id) ?? null,
    onRefused: () => {},
    now,
    random: () => 0,
  });
  const chooser = createChooser(
    {
      ramps: new Map(),
      byName: (name) => credentials.find((one) => one.name === name),
      ownedBy: () => undefined,
      isOpen: () => true,
    },
    health,
  );
  const budget = new RetryBudget(now);

  function send(choice: Choice, client: string): Failure {
    const { credential: used, version } = choice;
    const attempt = health.begin({ credentialId: used.id, version, authority: AUTHORITY, client });
    calls.push({ credential: used.name, client, atMs: nowMs });
    const status = provider(used.name, client, nowMs);
    if (status === null) {
      attempt.failed();
      return { kind: "connect", written: true };
    }
    const meaning = classifyTraffic(route.provider, { status, body: Buffer.alloc(0), bodyKnown: true });
    attempt.answered(meaning, null);
    attempt.abandoned();
    return { kind: "answer", status, meaning, shouldRetry: null, retryAfterMs: null };
  }

  function request(client: string, method: string): Ended {
    const identity = { client, user: null };
    const tried = new Set<string>();
    const notes: AttemptNote[] = [];
    budget.first(route);
    let choice: Choice | null = null;
    for (;;) {
      try {
        choice ??= chooser.choose(route, identity, AUTHORITY, nowMs, { tried });
      } catch (error) {
        if (!(error instanceof ProxyError)) throw error;
        return { status: null, code: error.code, field: attemptsField(notes) };
      }
      if (choice === null) throw new Error("the scene's route needs a credential");
      const used: Choice = choice;
      const failure = send(used, client);
      const status = failure.kind === "answer" ? failure.status : null;
      const meaning = failure.kind === "answer" ? failure.meaning : "connect";
      notes.push({ credential: used.credential.name, version: used.version, status, meaning });
      tried.add(triedKey(used));
      const use: VersionUse = { credentialId: used.credential.id, version: used.version, authority: AUTHORITY, client };
      const verdict = retryVerdict({
        failure,
        retry: route.retry,
        attempts: notes.length,
        elapsedMs: 0,
        method,
        hints: { idempotencyKey: false, clientRetries: false },
        bodyHeld: true,
        answerBegun: false,
        trading: false,
        sameReady: health.ready(use, nowMs) === "ready",
        otherReady: chooser.hasOther(route, identity, AUTHORITY, nowMs, tried),
        random: 0,
      });
      if (verdict.retry === null || !budget.take(route)) {
        return { status, code: status === null ? "upstream_connect" : null, field: attemptsField(notes) };
      }
      choice = verdict.retry === "same" ? used : null;
    }
  }

  return {
    request,
    calls,
    held,
    refused,
    now,
    wait: (ms: number) => {
      nowMs += ms;
    },
  };
}
