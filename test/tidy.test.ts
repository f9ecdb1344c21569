import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { readTree, sourceFile } from "./support/source-file.ts";
import {
  exceptionsExist,
  fileLength,
  functionLength,
  importDirections,
  mirroredTests,
  noAny,
  noBarrel,
  noDefaultExport,
  noDrawer,
  purePolicy,
} from "./support/tidy-code.ts";
import {
  CONSOLE,
  COVERED_ELSEWHERE,
  CRYPTO,
  ENVIRONMENT,
  METRICS,
  SOCKETS,
  SQL,
  TABLES,
} from "./support/tidy-exceptions.ts";
import {
  consoleOwner,
  cryptoOwner,
  environmentOwner,
  metricNameOwner,
  noUnsafeSwitch,
  type Rule,
  socketOwner,
  sqlOwner,
} from "./support/tidy-owners.ts";
import {
  completeLockfile,
  exactVersions,
  explainedDependencies,
  nothingFromOutside,
  nothingUnfinished,
  portableLockfile,
  provenGuarantees,
} from "./support/tidy-project.ts";

type Snippets = Readonly<Record<string, string>>;

interface TidyRule {
  readonly name: string;
  readonly rule: Rule;
  /** Each violates the rule: path, or path#n to feed one path several texts. */
  readonly bad: Snippets;
  /** None of these does. */
  readonly good?: Snippets;
}

const lines = (count: number, line = "x();"): string => `${line}\n`.repeat(count);
const securityRows = (last: string): string =>
  [...Array.from({ length: 15 }, (_, n) => `| G${n + 1} x | \`test/a.test.ts\` "it holds" |`), last].join("\n");
const provenBy = "test/a.test.ts";

const RULES: readonly TidyRule[] = [
  {
    name: "imports follow the layers: secret, providers, policy, store, daemon, cli",
    rule: importDirections,
    bad: {
      "src/policy/a.ts": 'import { b } from "../store/b.ts";',
      "src/policy/s.ts": 'import type { Secret } from "../secret.ts";',
      "src/store/a.ts": 'import type { B } from "../policy/b.ts";',
      "src/providers/a.ts": 'import { b } from "../policy/b.ts";',
      "src/secret.ts": 'import { b } from "./store/b.ts";',
      "src/daemon/a.ts": 'import { b } from "../cli/b.ts";',
      "src/daemon/b.ts": 'import { start } from "./daemon.ts";',
      "src/daemon/ingress/a.ts": 'import { b } from "../admin/b.ts";',
      "src/daemon/pipeline/a.ts": 'const b = await import("../monitor/b.ts");',
      "src/cli/a.ts": 'import { b } from "../../test/b.ts";',
      "src/unknown/a.ts": 'import { b } from "../secret.ts";',
      "ui/src/a.ts": 'import { b } from "../../src/daemon/admin/contract.ts";',
      "ui/src/b.ts": 'import type { b } from "../../src/daemon/config.ts";',
    },
    good: {
      "src/policy/a.ts": 'import type { Provider } from "../providers/schema.ts";',
      "src/store/a.ts": 'import { Secret } from "../secret.ts";',
      "src/daemon/pipeline/a.ts": 'import { b } from "../../store/b.ts";\nimport { c } from "../policy-source.ts";',
      "src/cli/a.ts": 'import { start } from "../daemon/daemon.ts";',
      "ui/src/a.ts": 'import type { b } from "../../src/daemon/admin/contract.ts";',
    },
  },
  {
    name: "the policy is pure: no clock, no randomness, no modules of node",
    rule: purePolicy,
    bad: {
      "src/policy/a.ts": "const now = Date.now();",
      "src/policy/b.ts": "const now = new Date();",
      "src/policy/c.ts": 'import { readFileSync } from "node:fs";',
      "src/policy/d.ts": "setTimeout(run, 5);",
      "src/policy/e.ts": 'import { isIP, connect } from "node:net";',
      "src/policy/f.ts": "Math.random();",
    },
    good: {
      "src/policy/a.ts": 'import { isIP } from "node:net";\nimport { z } from "zod";\n// Date.now()\nnew Date(nowMs);',
      "src/daemon/a.ts": "Date.now();",
    },
  },
  {
    name: "only the daemon's configuration reads the environment",
    rule: environmentOwner(ENVIRONMENT),
    bad: {
      "src/store/a.ts": "process.env.HOME",
      "src/store/b.ts": 'process["env"]',
      "src/store/c.ts": "const { env } = process;",
      "src/store/d.ts": 'import { env } from "node:process";',
    },
    good: { "src/daemon/config.ts": "process.env", "src/a.ts": "// process.env", "test/a.ts": "process.env" },
  },
  {
    name: "only the terminal module writes to the terminal",
    rule: consoleOwner(CONSOLE),
    bad: { "src/cli/a.ts": "console.log(1)", "src/daemon/a.ts": "process.stderr.write(x)" },
    good: { "src/cli/terminal.ts": "process.stdout.write(x)", "src/a.ts": 'const s = "console.log";' },
  },
  {
    name: "SQL is written in the store alone",
    rule: sqlOwner(SQL),
    bad: {
      "src/daemon/a.ts": 'db.prepare("SELECT * FROM audit");',
      "src/cli/a.ts": "db.exec(`\n  DELETE FROM clients WHERE id = 1`);",
      "src/daemon/b.ts": 'import Database from "better-sqlite3";',
      "src/daemon/c.ts": 'db.exec("PRAGMA user_version");',
    },
    good: {
      "src/store/a.ts": 'db.prepare("SELECT * FROM audit");',
      "src/cli/a.ts": 'say("select a route from the list"); // SELECT x FROM y',
    },
  },
  {
    name: "metric names are written in one module",
    rule: metricNameOwner(METRICS),
    bad: {
      "src/daemon/a.ts": 'counter("sidekey_requests_total")',
      "src/daemon/b.ts": 'import { Counter } from "prom-client";',
    },
    good: { "src/daemon/metrics.ts": '"sidekey_requests_total"', "src/daemon/a.ts": 'say("sidekey up")' },
  },
  {
    name: "cryptography is called by its owners alone",
    rule: cryptoOwner(CRYPTO),
    bad: {
      "src/daemon/a.ts": 'import { randomBytes } from "node:crypto";',
      "src/cli/a.ts": "crypto.getRandomValues(x)",
      "src/store/vault.ts": 'import sodium from "libsodium-wrappers";',
      "src/daemon/ingress/other.ts": 'import * as x509 from "@peculiar/x509";',
    },
    good: {
      "src/store/crypto.ts": 'import { randomBytes } from "node:crypto";',
      "src/providers/auth/hmac.ts": 'import { createHmac } from "node:crypto";',
      "src/daemon/a.ts": 'import type { KeyObject } from "node:crypto";',
    },
  },
  {
    name: "upstream sockets are opened by dial alone",
    rule: socketOwner(SOCKETS),
    bad: {
      "src/daemon/a.ts": 'import { connect } from "node:tls";',
      "src/daemon/b.ts": 'import net from "node:net";\nnet.createConnection(1);',
      "src/daemon/c.ts": 'import * as https from "node:https";\nhttps.request(x);',
      "src/daemon/d.ts": 'import { Pool, errors } from "undici";',
      "src/providers/probe.ts": "const answer = await fetch(url);",
      "src/daemon/e.ts": "new WebSocket(url)",
      "src/daemon/f.ts": 'const net = await import("node:net");',
      "src/daemon/pipeline/tunnel.ts": 'import { connect as go } from "node:net";',
    },
    good: {
      "src/daemon/pipeline/dial.ts": 'import { connect } from "node:tls";\nimport { Pool } from "undici";',
      "src/daemon/a.ts": 'import { createServer } from "node:tls";\nimport { type Dispatcher, errors } from "undici";',
      "src/daemon/b.ts": "store.fetch(1); db.connect();",
    },
  },
  {
    name: "no switch turns certificate verification or strict parsing off",
    rule: noUnsafeSwitch,
    bad: {
      "src/a.ts": "connect({ rejectUnauthorized: false })",
      "src/b.ts": "connect({ rejectUnauthorized: verify })",
      "src/c.ts": "connect({ rejectUnauthorized })",
      "src/d.ts": "createServer({ insecureHTTPParser: true })",
      "src/e.ts": 'env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0"',
      "src/g.ts": "env.NODE_TLS_REJECT_UNAUTHORIZED = '0'",
      "src/f.ts": "connect({ checkServerIdentity: () => undefined })",
    },
    good: {
      "src/a.ts": "connect({ rejectUnauthorized: true, insecureHTTPParser: false })",
      "src/b.ts": 'if (env.NODE_TLS_REJECT_UNAUTHORIZED === "0") refuse("NODE_TLS_REJECT_UNAUTHORIZED");',
    },
  },
  {
    name: "no file is longer than 350 lines",
    rule: fileLength(TABLES),
    bad: { "src/a.ts": lines(351), "test/a.test.ts": lines(351) },
    good: { "src/a.ts": lines(350), "docs/a.md": lines(900) },
  },
  {
    name: "no function is longer than 70 lines",
    rule: functionLength,
    bad: {
      "src/a.ts": `function a(): void {\n${lines(69)}}`,
      "src/b.ts": `const b = async (x: X): Promise<Y> => {\n${lines(69)}};`,
      "test/c.test.ts": `test("c", () => {\n${lines(69)}});`,
    },
    good: {
      "src/a.ts": `function a(): void {\n${lines(68)}}\nfunction b(): void {\n${lines(68)}}`,
      "test/a.test.ts": `describe("a", () => {\n${lines(100)}});`,
    },
  },
  {
    name: "no file has a default export",
    rule: noDefaultExport,
    bad: { "src/a.ts": "export default 1;", "src/b.ts": "const a = 1;\nexport { a as default };" },
    good: { "src/a.ts": 'export const a = "export default";' },
  },
  {
    name: "no file is a barrel",
    rule: noBarrel,
    bad: { "src/a.ts": 'export * from "./b.ts";', "src/c.ts": 'export { d } from "./d.ts";', "src/x/index.ts": "" },
    good: { "src/a.ts": 'import { b } from "./b.ts";\nexport const a = b;' },
  },
  {
    name: "no file is a drawer",
    rule: noDrawer,
    bad: { "src/utils.ts": "", "test/support/helpers.ts": "", "src/store/misc.ts": "" },
    good: { "src/store/duration.ts": "" },
  },
  {
    name: "nothing has the type any",
    rule: noAny,
    bad: {
      "src/a.ts": "const a: any = 1;",
      "src/b.ts": "f(x as any)",
      "src/c.ts": "type A = Map<string, any[]>;",
      "src/d.ts": "type A = string | any;",
    },
    good: { "src/a.ts": 'Promise.any(x); const o = { any: 1 }; f("as any"); // as any' },
  },
  {
    name: "every source file has a test file of its name",
    rule: mirroredTests({ "src/daemon/types.ts": "only in this example" }),
    bad: { "src/store/b.ts": "" },
    good: { "src/store/a.ts": "", "test/store/a.test.ts": "", "src/daemon/types.ts": "" },
  },
  {
    name: "every exception names a file that exists and a reason",
    rule: exceptionsExist({ "src/here.ts": "because of this and that", "src/dir/": "because of that and this" }),
    bad: { "src/here.ts": "", "src/elsewhere.ts": "" },
    good: { "src/here.ts": "", "src/dir/a.ts": "" },
  },
  {
    name: "nothing is marked as unfinished",
    rule: nothingUnfinished,
    bad: { "src/a.ts": `// ${"TO"}${"DO"}: later`, "docs/a.md": `${"FIX"}${"ME"}` },
    good: { "src/a.ts": "// the fixed method to do" },
  },
  {
    name: "nothing mentions how it was written, download hosts or folders of one machine",
    rule: nothingFromOutside,
    bad: {
      "docs/a.md": `the ${"session"} prompt says`,
      "docs/b.md": `made by ${"Cla"}${"ude"}`,
      ".ci/run": `npm --registry https://registry.${"npmjs"}.org`,
      "scripts/a.sh": `cd /${"work"}/main`,
      Dockerfile: `COPY . /${"root"}/x`,
    },
    good: { "src/a.ts": "// https://platform.example/Claude/docs\n// session, prompt; a/work/b; ./root/x" },
  },
  {
    name: "package.json pins exact versions",
    rule: exactVersions,
    bad: { "package.json": '{"dependencies":{"a":"^1.0.0"}}', "package.json#2": '{"devDependencies":{"a":"latest"}}' },
    good: { "package.json": '{"dependencies":{"a":"1.0.0"},"optionalDependencies":{"b":"24.1.0-rc.1"}}' },
  },
  {
    name: "the lockfile pins every byte and no download host",
    rule: portableLockfile,
    bad: {
      "package-lock.json": '{"packages":{"x":{"resolved":"https://h/x.tgz","integrity":"sha512-x"}}}',
      "package-lock.json#2": '{"packages":{"x":{"version":"1.0.0"}}}',
    },
    good: { "package-lock.json": '{"packages":{"":{},"x":{"integrity":"sha512-x"}}}' },
  },
  {
    name: "the lockfile has every package that it names",
    rule: completeLockfile,
    bad: { "package-lock.json": '{"packages":{"node_modules/a":{"optionalDependencies":{"b":"1.0.0"}}}}' },
    good: { "package-lock.json": '{"packages":{"":{"dependencies":{"a":"1.0.0"}},"node_modules/a":{}}}' },
  },
  {
    name: "every runtime dependency is explained in an ADR",
    rule: explainedDependencies,
    bad: { "package.json": '{"dependencies":{"left":"1.0.0"}}' },
    good: { "package.json": '{"dependencies":{"left":"1.0.0"}}', "docs/adr/0008-dependencies.md": "`left`: why" },
  },
  {
    name: "every guarantee in SECURITY.md names tests that exist",
    rule: provenGuarantees,
    bad: {
      "docs/SECURITY.md": securityRows("nothing about the last one"),
      "docs/SECURITY.md#2": securityRows('| G16 x | `test/absent.test.ts` "it holds" |'),
      "docs/SECURITY.md#3": securityRows(`| G16 x | \`${provenBy}\` "it is another" |`),
      "docs/SECURITY.md#4": securityRows(`| G16 x | \`${provenBy}\` |`),
      "docs/SECURITY.md#5": securityRows("| G16 x | trust us |"),
    },
    good: {
      "docs/SECURITY.md": securityRows(`| **G16 x** | yes | \`${provenBy}\` "it holds" |`),
      [provenBy]: 'test("it holds", () => {});',
    },
  },
];

/** Rules whose exceptions differ between the examples above and the repository. */
const LISTS = [ENVIRONMENT, CONSOLE, SQL, METRICS, CRYPTO, SOCKETS, TABLES, COVERED_ELSEWHERE];
const IN_REPOSITORY: Readonly<Record<string, Rule>> = {
  "every source file has a test file of its name": mirroredTests(COVERED_ELSEWHERE),
  "every exception names a file that exists and a reason": exceptionsExist(...LISTS),
};

const repository = readTree(join(import.meta.dirname, ".."));

for (const { name, rule, bad, good = {} } of RULES) {
  test(name, () => {
    const problems = (IN_REPOSITORY[name] ?? rule)(repository);
    assert.equal(problems.length, 0, `\n${problems.join("\n")}`);
  });

  test(`a violation is found: ${name}`, () => {
    const proof = sourceFile(provenBy, 'test("it holds", () => {});');
    for (const [key, text] of Object.entries(bad)) {
      const path = key.replace(/#\d+$/, "");
      const files = [sourceFile(path, text), ...(path === "docs/SECURITY.md" ? [proof] : [])];
      assert.notEqual(rule(files).length, 0, `not noticed in ${key}: ${text.slice(0, 200)}`);
    }
    const fine = Object.entries(good).map(([path, text]) => sourceFile(path, text));
    if (fine.length > 0) assert.deepEqual(rule(fine), []);
  });
}
