import { compilePolicy } from "../src/policy/compile.ts";
import { decide } from "../src/policy/decide.ts";
import { parsePolicy } from "../src/policy/parse.ts";
import { parseProvider } from "../src/providers/schema.ts";

/** Cost of one decision, in nanoseconds, for policies of different sizes. It should not grow with the routes. */
export function decideCost(routes: number, calls: number): number {
  const hosts = Array.from({ length: routes }, (_, n) => `h${n}.example.com`);
  const provider = parseProvider(
    `id: many
name: Many hosts
category: market-data
docs: https://example.com/docs
sources: ["made for the benchmark (R)"]
environments:
  live: { hosts: [${hosts.join(", ")}] }
fields: {}
auth: [ { scheme: none } ]
`,
    "many.yaml",
  );
  const rules = hosts.map(
    (host, n) =>
      `  r${n}: { provider: many, hosts: [${host}], credentials: [], clients: [app], allow: [ { methods: [GET], paths: ["/v1/**"] } ] }`,
  );
  const policy = parsePolicy(
    `version: 1\nunmatched: deny\nclients: { app: { token: true } }\nroutes:\n${rules.join("\n")}\n`,
    "policy.yaml",
  );
  const { snapshot } = compilePolicy(
    policy,
    { providers: new Map([["many", provider]]) },
    { credentials: new Map(), clients: new Set(["app"]) },
    "bench",
  );
  const query = { port: 443, path: "/v1/quote", method: "GET", client: "app", phase: "request" as const };
  let allowed = 0;
  const run = (count: number): number => {
    const startedAt = performance.now();
    for (let n = 0; n < count; n++) {
      if (decide(snapshot, { ...query, host: hosts[n % routes] ?? "" }).allow) allowed++;
    }
    return ((performance.now() - startedAt) / count) * 1e6;
  };
  run(calls);
  const cost = run(calls);
  if (allowed !== calls * 2) throw new Error("the benchmark's policy does not allow its requests");
  return cost;
}
