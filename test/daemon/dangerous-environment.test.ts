import assert from "node:assert/strict";
import { test } from "node:test";
import { dangerousEnvironment } from "../../src/daemon/dangerous-environment.ts";

test("F1: variables and flags that would expose keys are refused by name", () => {
  const refused = (env: Record<string, string>, flags: string[] = []): string[] =>
    dangerousEnvironment(env, flags)
      .filter((problem) => problem.severity === "refuse")
      .map((problem) => problem.message);
  assert.deepEqual(refused({ NODE_OPTIONS: "--max-old-space-size=200", PATH: "/bin" }), []);
  for (const options of ["--inspect", "--inspect-brk=0", "-r ./x.js", "--require=./x.js", "--import ./x.mjs"]) {
    assert.match(refused({ NODE_OPTIONS: `--no-warnings ${options}` })[0] ?? "", /^NODE_OPTIONS has -/, options);
  }
  assert.equal(refused({ NODE_OPTIONS: "--tls_keylog=/tmp/k" }).length, 1);
  assert.equal(refused({}, ["--inspect"]).length, 1);
  assert.match(refused({ NODE_TLS_REJECT_UNAUTHORIZED: "0" })[0] ?? "", /turns TLS verification off; unset it/);
  assert.equal(refused({ SSLKEYLOGFILE: "/tmp/keys" }).length, 1);
  assert.equal(refused({ NODE_DEBUG: "http" }).length, 1);
  const [warning] = dangerousEnvironment({ NODE_EXTRA_CA_CERTS: "/etc/ca.pem" });
  assert.equal(warning?.severity, "warn");
});

test("F1: every kind of dangerous flag is refused in NODE_OPTIONS and on node's own command line", () => {
  const flags = `--inspect --inspect-port=0 --inspect-publish-uid=http --expose-internals -r --loader --experimental-loader
    --experimental-default-config-file --snapshot-blob --tls-keylog --trace-tls --trace-event-categories --tls-min-v1.0
    --security-revert --insecure-http-parser --heapsnapshot-signal=SIGUSR2 --heapsnapshot-near-heap-limit=2 --heap-prof
    --heap-prof-dir --cpu-prof --prof --perf-basic-prof --report-on-signal --report-uncaught-exception
    --report-on-fatalerror --abort-on-uncaught-exception --redirect-warnings --openssl-config --allow-natives-syntax`;
  for (const flag of flags.split(/\s+/)) {
    for (const spelled of [flag, `--${flag.replace(/^--?/, "").replaceAll("-", "_")}`]) {
      if (flag === "-r" && spelled !== flag) continue;
      assert.equal(dangerousEnvironment({ NODE_OPTIONS: `--no-warnings ${spelled}` })[0]?.severity, "refuse", spelled);
      assert.equal(dangerousEnvironment({}, [spelled])[0]?.severity, "refuse", spelled);
    }
  }
  const harmless = ["--disable-sigusr1", "--max-semi-space-size=16", "--max-old-space-size=200", "--no-warnings"];
  assert.deepEqual(
    dangerousEnvironment({ NODE_OPTIONS: harmless.join(" "), NODE_PENDING_DEPRECATION: "1" }, harmless),
    [],
  );
});

test("F1: every dangerous variable is named, its value never", () => {
  const value = "/tmp/secret-looking-value";
  const names = `SSLKEYLOGFILE NODE_DEBUG NODE_DEBUG_NATIVE NODE_V8_COVERAGE NODE_REDIRECT_WARNINGS NODE_COMPILE_CACHE
    LD_PRELOAD LD_AUDIT DYLD_INSERT_LIBRARIES OPENSSL_CONF OPENSSL_MODULES OPENSSL_ENGINES`;
  for (const name of names.split(/\s+/)) {
    const [problem, ...others] = dangerousEnvironment({ [name]: value });
    assert.deepEqual([problem?.name, problem?.severity, others], [name, "refuse", []]);
    assert.ok(problem?.message.startsWith(`${name} `) && !problem.message.includes(value), name);
    assert.deepEqual(dangerousEnvironment({ [name]: "" }), []);
  }
  assert.deepEqual(dangerousEnvironment({ OPENSSL_CONF: "/dev/null", NODE_TLS_REJECT_UNAUTHORIZED: "1" }), []);
  for (const name of [
    "NODE_EXTRA_CA_CERTS",
    "NODE_USE_SYSTEM_CA",
    "NODE_USE_ENV_PROXY",
    "LD_LIBRARY_PATH",
    "NODE_PATH",
  ]) {
    assert.equal(dangerousEnvironment({ [name]: "1" })[0]?.severity, "warn", name);
  }
});
