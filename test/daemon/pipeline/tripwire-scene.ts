import { join } from "node:path";
import type { TestContext } from "node:test";
import { createTripwire, type Finding, type ShownRequest } from "../../../src/daemon/pipeline/tripwire.ts";
import { watchVault } from "../../../src/daemon/vault-view.ts";
import { compilePolicy } from "../../../src/policy/compile.ts";
import { parsePolicy } from "../../../src/policy/parse.ts";
import { loadCatalog } from "../../../src/providers/catalog.ts";
import type { Secret } from "../../../src/secret.ts";
import { HONEYTOKEN_METADATA } from "../../../src/store/honeytoken.ts";
import { fingerprintFields } from "../../../src/store/known-values.ts";
import { fields, newCredential, newVault } from "../../support/vault-fixture.ts";

const CATALOG = loadCatalog(join(import.meta.dirname, "../../../config/providers"));

/** Keys that look like those of their providers, recognisable in any haystack. */
export const KEYS = {
  revoked: "sk-canary0revoked0ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef",
  previous: "sk-canary1previous1ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef",
  current: "sk-canary2current2ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef",
  pending: "sk-canary3pending3ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef",
  removed: "sk-canary4removed4ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef",
  bait: "sk-canary5bait5ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefgh",
  foreign: "sk-canary6foreign6ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef",
  alpacaId: "PKCANARY7ID7ABCDEFGH",
  alpacaSecret: "canary8secret8ABCDEFGHIJKLMNOPQRSTUVWXYZabcd",
} as const;

const POLICY = `
version: 1
clients: { app: { token: true }, batch: { token: true } }
routes:
  ai: { provider: openai, credentials: [openai-main], clients: [app] }
  data: { provider: fmp, credentials: [fmp-main], clients: [app, batch] }
  trade: { provider: alpaca, environment: paper, credentials: [alpaca-main], clients: [app] }
  bulk: { provider: taapi, credentials: [taapi-main], clients: [app] }
`;

/** A tripwire over a real vault with versions of every stage. */
export async function tripwireScene(t: TestContext) {
  const { vault, directory } = await newVault(t);
  const openai = { provider: "openai", category: "ai", hosts: ["api.openai.com"] };
  vault.addCredential(newCredential("openai-main", openai), fields({ api_key: KEYS.revoked }), "ana");
  for (const key of [KEYS.previous, KEYS.current]) {
    vault.addVersion("openai-main", fields({ api_key: key }), "current", "ana");
  }
  vault.addVersion("openai-main", fields({ api_key: KEYS.pending }), "pending", "ana");
  vault.revokeVersion("openai-main", 1, "ana");
  vault.addCredential(newCredential("gone", openai), fields({ api_key: KEYS.removed }), "ana");
  vault.addCredential(
    newCredential("bait", { ...openai, metadata: HONEYTOKEN_METADATA }),
    fields({ api_key: KEYS.bait }),
    "ana",
  );
  vault.addCredential(
    newCredential("alpaca-main", { provider: "alpaca", category: "trading", hosts: ["paper-api.alpaca.markets"] }),
    fields({ key_id: KEYS.alpacaId, secret_key: KEYS.alpacaSecret }),
    "ana",
  );
  const { snapshot: policy } = compilePolicy(
    parsePolicy(POLICY, "policy.yaml"),
    CATALOG,
    { credentials: new Map(), clients: new Set(["app", "batch"]) },
    "r1",
  );
  const failures: unknown[] = [];
  const view = watchVault(
    vault,
    () => {},
    (error) => failures.push(error),
  );
  t.after(() => view.close());
  const found: Finding[] = [];
  /** Secrets that were lent for a fingerprint. */
  const lent: Secret[] = [];
  const work = { fingerprints: 0 };
  const tripwire = createTripwire({
    values: () => view.values,
    fingerprint: (shown) => {
      work.fingerprints++;
      lent.push(...shown.values());
      return vault.read((each) => fingerprintFields(each, shown));
    },
    found: (finding) => found.push(finding),
    onFailure: (error) => failures.push(error),
  });
  const shown = (changes: Partial<ShownRequest> = {}): ShownRequest => ({
    policy,
    host: "api.openai.com",
    port: 443,
    query: "",
    fields: [],
    bodyKey: null,
    client: "app",
    route: "ai",
    atMs: 1_700_000_000_000,
    ...changes,
  });
  const bearer = (key: string, changes: Partial<ShownRequest> = {}): Finding | null =>
    tripwire.inspect(shown({ fields: ["Accept", "*/*", "Authorization", `Bearer ${key}`], ...changes }));
  return { vault, directory, view, policy, tripwire, shown, bearer, found, lent, work, failures };
}
