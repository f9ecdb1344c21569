import assert from "node:assert/strict";
import { test } from "node:test";
import { startPlainScene } from "./plain-route.ts";
import { FORMS, sendForm } from "./request-form.ts";
import { hostOf, startScene, upstreamOf } from "./scene.ts";

/** One or more answers of a resolver for each class of address that must not be dialled. */
const REFUSED: Readonly<Record<string, readonly string[]>> = {
  loopback: ["127.0.0.1", "127.255.255.254", "::1"],
  private: ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1"],
  "link-local": ["169.254.1.1", "fe80::1", "febf::1"],
  metadata: ["169.254.169.254", "fd00:ec2::254", "169.254.170.2"],
  cgn: ["100.64.0.1", "100.127.255.254"],
  nat64: ["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1"],
  "6to4": ["2002:7f00:1::", "2002:a00:1::1", "192.88.99.1"],
  teredo: ["2001:0:4136:e378:8000:63bf:3fff:fdd2"],
  mapped: ["::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:8.8.8.8", "::127.0.0.1"],
  unspecified: ["0.0.0.0", "::", "0.1.2.3"],
  multicast: ["224.0.0.1", "239.255.255.255", "ff02::1"],
  reserved: ["240.0.0.1", "255.255.255.255", "192.0.0.1", "198.18.0.1", "2001:db8::1", "192.0.2.1", "203.0.113.1"],
  "not an address": ["", "localhost", "127.1", "0x7f000001", "fe80::1%lo", "999.1.1.1"],
};

test("G5 vetted-dial: a name that leads to an address of a special range is refused, in every form, without a connection", async (t) => {
  let answers: readonly string[] = [];
  const scene = await startScene(t, { unpinned: true, resolve: async () => answers });
  for (const [kind, addresses] of Object.entries(REFUSED)) {
    for (const [i, address] of addresses.entries()) {
      answers = [address];
      const form = FORMS[i % FORMS.length] ?? "absolute";
      const reply = await sendForm(t, form, scene.sidekey, { host: hostOf("header"), route: "header" });
      assert.equal(reply.code, "upstream_refused_address", `${kind} ${address} ${form}`);
      assert.equal(reply.status, 403);
    }
  }
  assert.equal(upstreamOf(scene, "header").connections(), 0);
});

test("G5 vetted-dial: one refused address among good ones refuses them all", async (t) => {
  let answers: readonly string[] = [];
  const scene = await startScene(t, { unpinned: true, resolve: async () => answers });
  for (const bad of ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]) {
    for (const mixed of [
      ["8.8.8.8", bad],
      [bad, "8.8.8.8"],
      ["8.8.8.8", "2606:4700::1111", bad],
    ]) {
      answers = mixed;
      const reply = await sendForm(t, "absolute", scene.sidekey, { host: hostOf("header"), route: "header" });
      assert.equal(reply.code, "upstream_refused_address", mixed.join());
    }
  }
});

test("G5 vetted-dial: what was checked is what is dialled, and a name that moves is refused at its next connection", async (t) => {
  const answers = [["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1", "10.0.0.1"], ["127.0.0.1"]];
  let asked = 0;
  const { sidekey, standIn, host } = await startPlainScene(t, {
    route: "private: [127.0.0.0/8], keepAlive: false",
    resolve: async () => answers[asked++] ?? [],
  });
  const codes: (string | null)[] = [];
  for (const _ of answers) codes.push((await sendForm(t, "absolute", sidekey, { host, route: "plain" })).code);
  assert.deepEqual(codes, [null, "upstream_refused_address", "upstream_refused_address", null]);
  // Once for each connection: a second look could get another answer than the one that was checked.
  assert.equal(asked, answers.length);
  assert.equal(standIn.connections(), 2);
});

test("G5 vetted-dial: `private` opens exactly its ranges, for its route alone", async (t) => {
  let answers: readonly string[] = ["127.0.0.1"];
  const resolve = async (): Promise<readonly string[]> => answers;
  const open = await startPlainScene(t, { route: "private: [127.0.0.1/32]", resolve });
  for (const form of ["absolute", "origin"] as const) {
    assert.equal((await sendForm(t, form, open.sidekey, { host: open.host, route: "plain" })).status, 200, form);
  }
  answers = ["127.0.0.2"];
  const other = await startPlainScene(t, { route: "private: [127.0.0.1/32]", resolve });
  const reply = await sendForm(t, "absolute", other.sidekey, { host: other.host, route: "plain" });
  assert.equal(reply.code, "upstream_refused_address");
  answers = ["::ffff:127.0.0.2"];
  const mapped = await sendForm(t, "absolute", other.sidekey, { host: other.host, route: "plain" });
  assert.equal(mapped.code, "upstream_refused_address");
  assert.equal(other.standIn.connections(), 0);
});

/** Targets that name loopback, the metadata service or this machine, as clients and resolvers spell them. */
const SPELLINGS = [
  "127.0.0.1",
  "127.1",
  "0x7f000001",
  "0x7f.1",
  "0177.0.0.1",
  "2130706433",
  "127.0.0.1.",
  "localhost",
  "localhost.",
  "[::1]",
  "[::ffff:127.0.0.1]",
  "[::ffff:7f00:1]",
  "[::127.0.0.1]",
  "[64:ff9b::7f00:1]",
  "[2002:7f00:1::]",
  "[fe80::1%25lo]",
  "[::]",
  "0",
  "0.0.0.0",
  "169.254.169.254",
  "0xa9fea9fe",
  "2852039166",
  "127.0.0.1%00.header.test",
  "\uff11\uff12\uff17.0.0.1",
  "127\u30020\u30020\u30021",
  "[localhost]",
  "x@127.0.0.1",
];

for (const unmatched of ["deny", "tunnel"] as const) {
  test(`G5 vetted-dial: no spelling of a local address is dialled as a target (unmatched: ${unmatched})`, async (t) => {
    const { sidekey, standIn } = await startPlainScene(t, { unmatched, resolve: async () => ["127.0.0.1"] });
    for (const spelling of SPELLINGS) {
      const latin1 = Buffer.from(spelling, "utf8").toString("latin1");
      for (const port of [standIn.port, 443]) {
        for (const form of ["absolute", "connect-h1"] as const) {
          const { status } = await sendForm(t, form, sidekey, { host: `${latin1}:${port}`, route: "plain" });
          assert.ok(status === 400 || status === 403, `${form} ${spelling}:${port}: ${status}`);
        }
      }
    }
    assert.equal(standIn.connections(), 0);
  });
}
