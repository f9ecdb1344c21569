import { DownstreamH2 } from "../../src/daemon/ingress/downstream-h2.ts";

const end = DownstreamH2.prototype.end;
DownstreamH2.prototype.end = function (tr) {
  console.log("server end", new Error().stack);
  end.call(this, tr);
};
const ab = DownstreamH2.prototype.abort;
DownstreamH2.prototype.abort = function () {
  console.log("server abort", new Error().stack);
  ab.call(this);
};
const sh = DownstreamH2.prototype.sendHead;
DownstreamH2.prototype.sendHead = function (...a) {
  sh.apply(this, a);
};

import { test } from "node:test";
import { openH2 } from "./request-form.ts";
import { hostOf, keyOf, startScene, upstreamOf } from "./scene.ts";

test(`smoke`, async (t) => {
  const scene = await startScene(t, { kinds: ["header"] });
  const { session } = await openH2(t, scene.sidekey, { host: hostOf("header"), route: "header" });
  const s = session!.request({ ":method": "POST", ":path": "/", ":authority": hostOf("header"), ":scheme": "https" });
  const t0 = performance.now();
  for (const e of ["end", "close", "finish", "aborted", "error"])
    s.on(e, () => console.log(e, Math.round(performance.now() - t0)));
  s.on("data", () => {});
  s.end("x");
  await new Promise((r) => setTimeout(r, 1000));
  console.log(s.state, s.rstCode, s.closed, s.destroyed, s.writableFinished, s.readableEnded);
});
