import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { UnknownHosts } from "../../../../src/daemon/monitor/watch/unknown-hosts.ts";
import { type AlertScene, alertScene } from "../alert-scene.ts";

const HOUR = 3_600_000;

function scene(t: TestContext, alerts: AlertScene = alertScene(t)) {
  const hosts = new UnknownHosts(alerts.book);
  const ask = (host: string, client = "app") => hosts.seen(client, host, alerts.nowMs());
  return { ...alerts, hosts, ask };
}

const open = ({ book }: AlertScene): string[] => book.open().map(({ object, severity }) => `${object} ${severity}`);

test("a single typo is a note; three hosts, or twenty requests, are a warning", (t) => {
  const one = scene(t);
  one.ask("api.opnai.com");
  assert.deepEqual(open(one), ["client:app info"]);
  assert.equal(
    one.book.open()[0]?.message,
    "client app asked once for api.opnai.com, which no route names; add a route if it should, or find out why it does",
  );
  one.ask("api.opnai.com");
  one.ask("a.example");
  assert.deepEqual(open(one), ["client:app info"]);
  one.ask("b.example");
  assert.deepEqual(open(one), ["client:app warning"]);
  assert.match(one.book.open()[0]?.message ?? "", /asked 4 times for api\.opnai\.com \(2\), a\.example, b\.example,/);
  for (let n = 0; n < 20; n++) one.ask("one.example", "other");
  assert.deepEqual(open(one), ["client:app warning", "client:other warning"]);
});

test("twenty hosts are named, the others counted, and no message is long", (t) => {
  const one = scene(t);
  for (let n = 0; n < 5_000; n++) one.ask(`h${n % 300}.example`);
  const { message } = one.book.open()[0] ?? { message: "" };
  assert.match(
    message,
    /h0\.example \(\d+\), .*h19\.example \(\d+\) and at least 180 more hosts, which no route names/,
  );
  assert.ok(!message.includes("h20."));
  for (let n = 0; n < 50; n++)
    one.ask(`${`${n}`.padStart(60, "x")}.${"y".repeat(60)}.${"z".repeat(60)}.example`, "long");
  assert.ok((one.book.open().find(({ object }) => object === "client:long")?.message.length ?? 0) < 900);
});

test("a day without another request closes it, and a later one begins anew", (t) => {
  const one = scene(t);
  for (const host of ["a", "b", "c"]) one.ask(`${host}.example`);
  one.pass(23 * HOUR, HOUR);
  one.ask("a.example");
  one.pass(2 * HOUR, HOUR);
  assert.deepEqual(open(one), ["client:app warning"]);
  one.pass(22 * HOUR, HOUR);
  assert.deepEqual(open(one), []);
  one.hosts.look(one.nowMs());
  assert.equal(one.hosts.size, 0);
  one.ask("a.example");
  assert.deepEqual(open(one), ["client:app info"]);
});

test("after a restart it is not told again, and a warning stays one", (t) => {
  const first = scene(t);
  for (const host of ["a", "b", "c"]) first.ask(`${host}.example`);
  const again = scene(t, first.restart());
  again.ask("a.example");
  assert.deepEqual(again.changes, []);
  assert.deepEqual(open(again), ["client:app warning"]);
});

test("clients and hosts that are kept are bounded", (t) => {
  const many = scene(t);
  for (let n = 0; n < 700; n++) many.ask("a.example", `c${n}`);
  for (let n = 0; n < 1_000; n++) many.ask(`h${n}.example`, "last");
  assert.ok(many.hosts.size <= 500 * 2 + 200, `${many.hosts.size}`);
});
