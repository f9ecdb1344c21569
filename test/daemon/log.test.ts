import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { createLog, type Log, type LogLevel, type RequestLine } from "../../src/daemon/log.ts";

const always = {
  id: "01h",
  client: "app",
  user: null,
  form: "connect",
  method: "GET",
  host: "api.example.test",
  path: "/v1/quote",
  route: "fmp",
  credential: "fmp-main",
  version: 2,
  status: 200,
  outcome: "ok",
  code: null,
  bytes_up: 120,
  bytes_down: 4096,
  ms: 41.25,
  upstream_ms: 40,
  overhead_ms: 1.25,
  wait_ms: 0,
};

const line: RequestLine = {
  ...always,
  model: null,
  tokens_in: null,
  tokens_out: null,
  cost_usd: null,
  unpriced: false,
  usage: null,
  attempts: 1,
  scrubbed: 0,
};

interface Captured {
  log: Log;
  writes: string[];
}

function capture(format: "json" | "pretty" = "json", level: LogLevel = "info"): Captured {
  const writes: string[] = [];
  const log = createLog({
    level,
    format,
    write: (bytes) => void writes.push(bytes.toString()),
    scrubber: { scrub: (bytes) => Buffer.from(bytes.toString().replaceAll("canary-9f2b", "[secret]")) },
    now: () => Date.UTC(2025, 0, 2, 3, 4, 5, 678),
  });
  return { log, writes };
}

test("a request is one JSON line with the fixed field names", () => {
  const { log, writes } = capture();
  log.request(line);
  log.close();
  assert.equal(writes.length, 1);
  const parsed: unknown = JSON.parse(writes[0] ?? "");
  assert.deepEqual(parsed, { level: "info", time: "2025-01-02T03:04:05.678Z", msg: "request", ...always });
});

test("what an answer used is told behind the fixed fields, in a fixed order, the cost as an exact number", () => {
  const { log, writes } = capture();
  const used = { model: 'm"1', tokens_in: 1200, tokens_out: 0, cost_usd: "0.000000001", unpriced: true } as const;
  log.request({ ...line, ...used, usage: "estimated", attempts: 2, scrubbed: 1 });
  log.request({ ...line, cost_usd: "0.00", attempts: 0 });
  log.close();
  const [full, least] = writes.join("").split("\n");
  const told =
    '"wait_ms":0,"model":"m\\"1","tokens_in":1200,"tokens_out":0,"cost_usd":0.000000001,"unpriced":true,' +
    '"usage":"estimated","attempts":2,"scrubbed":1}';
  assert.ok(full?.endsWith(told), full);
  assert.ok(least?.endsWith('"wait_ms":0,"cost_usd":0.00}'), least);
  for (const text of [full, least]) assert.equal(typeof JSON.parse(text ?? "").cost_usd, "number");
});

test("many lines are written in one go, and at most 50 ms later", async () => {
  const { log, writes } = capture();
  for (let n = 0; n < 100; n++) log.request(line);
  assert.equal(writes.length, 0);
  await new Promise((resolve) => setTimeout(resolve, 80));
  assert.equal(writes.length, 1);
  assert.equal(writes[0]?.trimEnd().split("\n").length, 100);
  log.close();
});

test("a full buffer does not wait for the timer", () => {
  const { log, writes } = capture();
  for (let n = 0; n < 500; n++) log.request(line);
  assert.ok(writes.length >= 1);
  log.close();
});

test("a fatal line is written before the call returns, with everything before it", () => {
  const { log, writes } = capture();
  log.info("starting");
  log.fatal("vault.db is corrupt", { code: "corrupt" });
  assert.match(writes.join(""), /starting[\s\S]*vault\.db is corrupt/);
  log.close();
});

test("G7 no-leak: a live secret's bytes do not reach the output, whichever field they came in", () => {
  for (const format of ["json", "pretty"] as const) {
    const { log, writes } = capture(format);
    log.info("oops canary-9f2b", { host: "canary-9f2b.test", list: ["x", "canary-9f2b"], canary_9f: "canary-9f2b" });
    log.request({ ...line, path: "/bot/canary-9f2b/send" });
    log.close();
    assert.ok(!writes.join("").includes("canary-9f2b"));
    assert.match(writes.join(""), /\[secret\]/);
  }
});

test("when looking for secrets fails, the lines are withheld rather than written raw", () => {
  const writes: string[] = [];
  const scrub = (): Buffer => {
    throw new Error("broken");
  };
  const write = (bytes: Buffer): void => void writes.push(bytes.toString());
  const log = createLog({ level: "info", format: "json", write, scrubber: { scrub } });
  log.info("canary-9f2b");
  log.close();
  assert.match(writes.join(""), /^\{"level":"error","msg":"log lines withheld: [^"]+"\}\n$/);
});

test("objects, errors and buffers are not logged, and reserved names cannot be replaced", () => {
  const { log, writes } = capture();
  const fields = { err: new Error("https://x.test/?key=abc"), raw: Buffer.from("abc"), level: "debug", msg: "fake" };
  log.warn("careful", fields as unknown as Record<string, string>);
  log.close();
  const parsed = JSON.parse(writes[0] ?? "");
  assert.equal(parsed.level, "warn");
  assert.equal(parsed.msg, "careful");
  assert.equal(parsed.err, "[object not logged]");
  assert.equal(parsed.raw, "[object not logged]");
});

test("lines below the level are dropped and endless text is left out whole, so that no half secret remains", () => {
  const { log, writes } = capture("json", "warn");
  log.info("not shown");
  log.request(line);
  log.error("shown", { path: "x".repeat(20_000) });
  log.close();
  const parsed = JSON.parse(writes.join(""));
  assert.equal(parsed.path, "[20000 characters not logged]");
});

test("the pretty format is one readable line without control characters", () => {
  const { log, writes } = capture("pretty");
  log.request({ ...line, path: "/a\u001b[31m\nfake\u009b1m\u202e" });
  log.close();
  const text = writes.join("");
  assert.equal(text.split("\n").length, 2);
  assert.match(text, /^03:04:05\.678 info {2}request id=01h client=app form=connect method=GET /);
  assert.match(text, / ms=41\.25 /);
  assert.match(text, /^[\x20-\x7e]+\n$/);
});

test("lines that still wait are written when the process exits", () => {
  const module = pathToFileURL(new URL("../../src/daemon/log.ts", import.meta.url).pathname).href;
  const script = `
    import { writeSync } from "node:fs";
    import { createLog } from ${JSON.stringify(module)};
    const log = createLog({ level: "info", format: "json", write: (b) => writeSync(1, b), scrubber: { scrub: (b) => b } });
    log.info("last words");
    process.exit(3);`;
  const run = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  assert.equal(run.status, 3);
  assert.match(run.stdout, /last words/);
});
