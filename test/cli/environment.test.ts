import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { parseEnv } from "node:util";
import fc from "fast-check";
import { parse } from "yaml";
import { baseUrlEnvironment, serviceEnvironment } from "../../src/cli/environment.ts";
import { type EnvironmentFormat, formatEnvironment } from "../../src/cli/environment-format.ts";

const PROXY = "http://app:skc_abc_def@127.0.0.1:8787";
const ODD_TOKEN = `a'b"c $(id) \`id\` $HOME \\ !! # = : {x} *é|&;<>`;
const environment = () => serviceEnvironment({ proxyUrl: PROXY, dataDir: "/srv/sidekey/data" });

test("every client family is sent through the proxy and told of the root", () => {
  const variables = environment();
  for (const name of ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"]) {
    assert.equal(variables.get(name), PROXY);
  }
  assert.equal(variables.get("NODE_USE_ENV_PROXY"), "1");
  for (const name of ["NODE_EXTRA_CA_CERTS", "DENO_CERT"]) {
    assert.equal(variables.get(name), "/srv/sidekey/data/ca.pem");
  }
  const replacing = `SSL_CERT_FILE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE PIP_CERT AWS_CA_BUNDLE GIT_SSL_CAINFO
    CARGO_HTTP_CAINFO GRPC_DEFAULT_SSL_ROOTS_FILE_PATH WEBSOCKET_CLIENT_CA_BUNDLE`;
  for (const name of replacing.split(/\s+/)) {
    assert.equal(variables.get(name), "/srv/sidekey/data/ca-bundle.pem", name);
  }
});

test("loopback and named hosts stay direct, without ports, and inherited exceptions are kept", () => {
  const variables = serviceEnvironment({
    proxyUrl: PROXY,
    dataDir: "/data",
    directHosts: ["db.internal:5432", "[fd00::8]:8788", "cache.internal", "127.0.0.1:8788"],
    inherited: { NO_PROXY: "legacy.internal, .corp.test" },
  });
  const expected = "localhost,127.0.0.1,::1,db.internal,fd00::8,cache.internal,legacy.internal,.corp.test";
  assert.equal(variables.get("NO_PROXY"), expected);
  assert.equal(variables.get("no_proxy"), expected);
  const java = variables.get("JAVA_TOOL_OPTIONS") ?? "";
  assert.match(java, /-Dhttp\.nonProxyHosts=localhost\|127\.0\.0\.1\|\[::1\]\|.*\|\*\.corp\.test( |$)/);
});

test("Java gets host, port and trust store but never the token, and keeps its own options", () => {
  const variables = serviceEnvironment({
    proxyUrl: "http://app:token@[::1]:8787",
    dataDir: "/srv/my data",
    inherited: { JAVA_TOOL_OPTIONS: "-Xmx256m" },
  });
  const java = variables.get("JAVA_TOOL_OPTIONS") ?? "";
  assert.match(java, /^-Xmx256m -Dhttp\.proxyHost=::1 -Dhttp\.proxyPort=8787 -Dhttps\.proxyHost=::1 /);
  assert.match(java, / "-Djavax\.net\.ssl\.trustStore=\/srv\/my data\/ca-bundle\.p12" /);
  assert.match(java, / -Djdk\.http\.auth\.tunneling\.disabledSchemes= /);
  assert.doesNotMatch(java, /token/);
});

test("a proxy URL that is none, or a relative data directory, is refused without showing the token", () => {
  const make = (proxyUrl: string, dataDir: string) => () => serviceEnvironment({ proxyUrl, dataDir });
  const quiet = (error: unknown) =>
    error instanceof Error && /^proxyUrl: /.test(error.message) && !/hush/.test(error.message);
  assert.throws(make("hush", "/data"), quiet);
  assert.throws(make("https://app:hush@127.0.0.1:1", "/data"), quiet);
  assert.throws(make(PROXY, "./data"), /dataDir: "\.\/data" is relative/);
});

test("the base-URL form has the client's token where the SDK wants a key", () => {
  const variables = baseUrlEnvironment("http://app:a%2Fb%25@127.0.0.1:8787");
  assert.equal(variables.get("OPENAI_BASE_URL"), "http://127.0.0.1:8787/openai/v1");
  assert.equal(variables.get("OPENAI_API_KEY"), "a/b%");
  assert.equal(variables.get("ANTHROPIC_BASE_URL"), "http://127.0.0.1:8787/anthropic");
  assert.equal(variables.get("ANTHROPIC_API_KEY"), "a/b%");
  assert.equal(baseUrlEnvironment("http://127.0.0.1:8787").get("OPENAI_API_KEY"), "sidekey");
});

test("what `sh` reads back is what was written, whatever the characters", () => {
  const variables = new Map([...environment(), ["ODD", ODD_TOKEN], ["EMPTY", ""]]);
  const script = `${formatEnvironment(variables, "sh", baseUrlEnvironment(PROXY))}env -0`;
  const env = { PATH: "/usr/bin:/bin" };
  const seen = new Map(
    execFileSync("sh", ["-c", script], { env })
      .toString()
      .split("\0")
      .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
  for (const [name, value] of variables) assert.equal(seen.get(name), value, name);
  assert.equal(seen.has("OPENAI_API_KEY"), false);
});

test("what a .env reader reads back is what was written", () => {
  const values = ["plain", "with space # and $HOME", `say "hi" \\n $(x)`, "it's fine | * ?", "", "http://a:b%2F@h:1"];
  const variables = new Map([
    ...environment(),
    ...values.map((value, index): [string, string] => [`V${index}`, value]),
  ]);
  const seen = parseEnv(formatEnvironment(variables, "dotenv", baseUrlEnvironment(PROXY)));
  assert.deepEqual(seen, Object.fromEntries(variables));
  const mixed = new Map([["KEY", `it's "mixed"`]]);
  assert.throws(
    () => formatEnvironment(mixed, "dotenv"),
    (error) => error instanceof Error && !/mixed"/.test(error.message),
  );
});

test("compose and Kubernetes get YAML that their own expansion of `$` turns back into the value", () => {
  const printable = fc.string({ unit: "grapheme" }).filter((text) => !/\p{Cc}/u.test(text));
  fc.assert(
    fc.property(printable, (value) => {
      const variables = new Map([
        ["A", value],
        ["ODD", ODD_TOKEN],
      ]);
      const compose = parse(formatEnvironment(variables, "compose", variables));
      const k8s = parse(formatEnvironment(variables, "k8s", variables));
      const fromK8s = k8s.env.map((entry: { name: string; value: string }) => [entry.name, expanded(entry.value)]);
      assert.deepEqual(fromK8s, [...variables]);
      assert.deepEqual(
        Object.entries<string>(compose.environment).map(([name, text]) => [name, expanded(text)]),
        [...variables],
      );
    }),
  );
});

/** Both expand `$NAME`, `${NAME}` (compose) or `$(NAME)` (Kubernetes) to nothing here, and `$$` to `$`. */
function expanded(text: string): string {
  return text.replace(/\$(\$|\{\w*\}|\(\w*\)|\w+)/g, (_, found: string) => (found === "$" ? "$" : ""));
}

test("a line break or a bad name is refused in every format, so a value cannot add a line", () => {
  for (const format of ["sh", "dotenv", "compose", "k8s"] satisfies EnvironmentFormat[]) {
    assert.throws(
      () => formatEnvironment(new Map([["KEY", "a\nrm -rf"]]), format),
      /^CliError: KEY: .*control character/,
    );
    assert.throws(() => formatEnvironment(new Map(), format, new Map([["KEY", "a\rb"]])), /control character/);
    assert.throws(() => formatEnvironment(new Map([["A;B", "x"]]), format), /not a name/);
  }
});
