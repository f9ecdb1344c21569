import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type BreakerPass, Breakers } from "../../../src/daemon/pipeline/breaker.ts";

const NOW = 1_700_000_000_000;
const KEY = "api.p.test:443\nid\n1";

/** Time in ms after NOW, one breaker. */
function scene() {
  const breakers = new Breakers(() => 0);
  const standing = (atMs: number, client = "app") => {
    const told = breakers.standing(KEY, client, NOW + atMs);
    return told === null || told === "trial" ? told : told.untilMs - NOW;
  };
  const begin = (atMs: number, client = "app") => breakers.begin(KEY, client, NOW + atMs);
  const result = (atMs: number, well: boolean, client = "app") => {
    const pass = begin(atMs, client);
    if (well) pass.succeeded(NOW + atMs);
    else pass.failed(NOW + atMs);
  };
  return { breakers, standing, begin, result };
}

test("five failures in a row open it; the first one that succeeds as a trial closes it", () => {
  const { standing, begin, result } = scene();
  for (let n = 0; n < 4; n++) result(n, false);
  assert.equal(standing(4), null);
  result(4, false);
  assert.equal(standing(5), 1_004);
  assert.equal(standing(1_004), "trial");
  const trial = begin(1_004);
  assert.notEqual(standing(1_100), "trial", "one at a time");
  trial.succeeded(NOW + 1_200);
  assert.equal(standing(1_200), null);
  for (let n = 0; n < 4; n++) result(1_300 + n, false);
  assert.equal(standing(1_310), null, "it begins to count anew");
});

test("each failed trial doubles the pause, up to a minute", () => {
  const { standing, begin, result } = scene();
  for (let n = 0; n < 5; n++) result(0, false);
  let atMs = 1_000;
  for (const spanMs of [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]) {
    assert.equal(standing(atMs), "trial");
    begin(atMs).failed(NOW + atMs);
    assert.equal(standing(atMs), atMs + spanMs);
    atMs += spanMs;
  }
});

test("fewer than half of the last twenty, or failures that lie apart, do not open it", () => {
  const { standing, result } = scene();
  for (let n = 0; n < 200; n++) result(n, n % 5 < 3);
  assert.equal(standing(200), null, "2 of 5");
  const slow = scene();
  for (let n = 0; n < 50; n++) slow.result(n * 3_000, false);
  assert.equal(slow.standing(150_000), null, "4 in any 10 s");
  const after = scene();
  for (let n = 0; n < 100; n++) after.result(n, true);
  for (let n = 0; n < 9; n++) after.result(100 + n, false);
  assert.equal(after.standing(110), null, "9 of 20");
  after.result(110, false);
  assert.equal(after.standing(111), 1_110, "10 of 20");
});

test("what was sent before it opened neither closes it nor makes it longer", () => {
  const { standing, begin, result } = scene();
  const early = [begin(0), begin(0), begin(0)];
  for (let n = 0; n < 5; n++) result(1, false);
  early[0]?.succeeded(NOW + 10);
  early[1]?.failed(NOW + 1_500);
  assert.equal(standing(1_001), "trial");
  const trial = begin(1_600);
  early[2]?.failed(NOW + 1_601);
  assert.notEqual(standing(1_602), "trial", "the trial is still under way");
  trial.failed(NOW + 1_700);
  assert.equal(standing(1_700), 3_700);
});

test("a trial that was abandoned makes room for another, and only the first word of a request counts", () => {
  const { standing, begin, result } = scene();
  for (let n = 0; n < 5; n++) result(0, false);
  const gone = begin(1_000);
  gone.abandoned();
  assert.equal(standing(1_001), "trial");
  const other = begin(1_001);
  gone.succeeded(NOW + 1_002);
  gone.failed(NOW + 1_002);
  gone.abandoned();
  assert.equal(standing(1_003), 2_003, "the other trial is still under way");
  other.succeeded(NOW + 1_004);
  assert.equal(standing(1_004), null);
});

test("a request that goes out although it is open is no trial", () => {
  const { standing, begin, result } = scene();
  for (let n = 0; n < 5; n++) result(0, false);
  begin(10).succeeded(NOW + 20);
  assert.equal(standing(20), 1_000);
});

test("one client that makes the provider fail takes it away from nobody else", () => {
  const { standing, result } = scene();
  result(0, true, "quiet");
  for (let n = 0; n < 900; n++) result(n * 10, false, "poison");
  assert.equal(standing(9_000, "quiet"), null, "while another was served");
  result(9_001, false, "quiet");
  assert.notEqual(standing(9_001, "quiet"), null, "both fail");
});

test("a breaker that one client opened is tried at once for another, one request at a time", () => {
  const { standing, begin, result } = scene();
  for (let n = 0; n < 5; n++) result(0, false, "poison");
  assert.equal(standing(1, "poison"), 1_000);
  assert.equal(standing(1, "quiet"), "trial");
  const second = begin(1, "quiet");
  assert.notEqual(standing(2, "other"), "trial");
  second.succeeded(NOW + 3);
  assert.equal(standing(4, "poison"), null);
  for (let n = 0; n < 50; n++) result(5, false, "poison");
  assert.equal(standing(6, "quiet"), null, "the other was served just now");
  for (let n = 0; n < 5; n++) result(11_000, false, "poison");
  begin(11_001, "quiet").failed(NOW + 11_002);
  assert.equal(standing(11_003, "quiet"), 13_002, "now it is two clients' word");
  assert.equal(standing(11_003, "other"), 13_002);
});

test("breakers do not know of each other, and their number is bounded", () => {
  const breakers = new Breakers(() => 0, 100);
  for (let n = 0; n < 5; n++) breakers.begin("a", "app", NOW).failed(NOW);
  assert.equal(breakers.standing("b", "app", NOW), null);
  assert.deepEqual(breakers.open(NOW), [{ key: "a", untilMs: NOW + 1_000, halfOpen: false }]);
  assert.equal(breakers.open(NOW + 1_000)[0]?.halfOpen, true);
  for (let n = 0; n < 1_000; n++) breakers.begin(`k${n}`, "app", NOW).succeeded(NOW);
  assert.equal(breakers.size, 100);
});

const STEP = fc.record({
  waitMs: fc.integer({ min: 0, max: 3_000 }),
  client: fc.constantFrom("a", "b"),
  which: fc.nat(20),
  do: fc.constantFrom("begin", "begin", "succeeded", "failed", "failed", "abandoned"),
});

test("a breaker that is not closed never has more than one request out that its standing allowed", () => {
  fc.assert(
    fc.property(fc.array(STEP, { maxLength: 200 }), (steps) => {
      const breakers = new Breakers(() => 0);
      let nowMs = NOW;
      let out: { pass: BreakerPass; trial: boolean }[] = [];
      for (const step of steps) {
        nowMs += step.waitMs;
        const standing = breakers.standing(KEY, step.client, nowMs);
        if (step.do === "begin") {
          if (standing !== null && standing !== "trial") continue;
          out.push({ pass: breakers.begin(KEY, step.client, nowMs), trial: standing === "trial" });
        } else {
          const [ended] = out.splice(step.which % Math.max(1, out.length), 1);
          ended?.pass[step.do](nowMs);
        }
        // Trials of an earlier opening do not count any more once it has closed.
        if (breakers.standing(KEY, step.client, nowMs) === null) out = out.map(({ pass }) => ({ pass, trial: false }));
        assert.ok(out.filter(({ trial }) => trial).length <= 1);
      }
    }),
  );
});
