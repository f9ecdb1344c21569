/** The one provider and policy that the benchmarks use: a key in a header, a limit that never denies. */

export const HOST = "localhost";

export const PROVIDER = `id: bench
name: Bench upstream
category: market-data
docs: https://example.com/docs
sources: ["made for the benchmark (R)"]
environments:
  live: { hosts: [${HOST}] }
fields:
  api_key: { label: API key, secret: true }
auth:
  - scheme: header
    headers: { authorization: "Bearer {api_key}" }
carriers: { headers: [authorization, x-api-key] }
`;

/** The same without anything to inject. */
export const PROVIDER_WITHOUT_KEY = PROVIDER.replace(/- scheme: header\n.*\n/, "- scheme: none\n");

export const POLICY = `version: 1
unmatched: deny
clients: { app: { token: true } }
routes:
  bench:
    provider: bench
    credentials: [bench-main]
    clients: [app]
    limits: [ { name: rpm, per: [credential], requests: 100000/s } ]
`;

/** Answers pass unsearched; only to see what searching costs. */
export const POLICY_UNSCRUBBED = POLICY.replace("    limits:", "    response: { scrub: off }\n    limits:");

/** For PROVIDER_WITHOUT_KEY. */
export const POLICY_WITHOUT_KEY = POLICY.replace("[bench-main]", "[]").replace("per: [credential]", "per: [route]");

/** A second client with a route, provider and upstream of its own. */
export const FLOOD_HOST = "flood.test";
export const FLOOD_PROVIDER = PROVIDER.replace("id: bench", "id: flood").replace(`[${HOST}]`, `[${FLOOD_HOST}]`);
export const POLICY_WITH_FLOOD = `${POLICY.replace("app: {", "flood: { token: true }, app: {")}  flood:
    provider: flood
    credentials: [flood-main]
    clients: [flood]
`;
