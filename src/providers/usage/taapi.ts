import { unitsOf } from "./figure.ts";
import { countAt, EACH, memberSet } from "./member-set.ts";
import { callReader } from "./per-call.ts";
import { isJson, jsonBody, plainFacts } from "./request-body.ts";
import type { UsageDialect } from "./usage.ts";

/** One construct stands by itself, several are an array. */
const BULK = memberSet({
  single: countAt("construct", "indicators", EACH),
  several: countAt("construct", EACH, "indicators", EACH),
});

/**
 * TAAPI.IO: a bulk counts as one request against the rate limit, and each indicator of each of its constructs as one
 * calculation, of which plans allow only so many; those are credits here. Errors come inside answers with status 200,
 * one for each indicator that failed.
 */
export const taapi: UsageDialect = {
  needsBody: (head) => isBulk(head.method, head.path) && isJson(head),
  readRequest: (head, window) => {
    if (!isBulk(head.method, head.path)) {
      const credits = unitsOf({ credit: 1 });
      return plainFacts("indicator", { expected: credits, atMost: credits });
    }
    const body = jsonBody(head, window, BULK);
    const calculations = body ? body.members.count("single") + body.members.count("several") : 0;
    const units = unitsOf({ credit: calculations });
    return plainFacts("bulk", { expected: units, atMost: body?.certain ? units : null });
  },
  reader: callReader,
  askForUsage: null,
  hideAsked: null,
};

function isBulk(method: string, path: string): boolean {
  return method === "POST" && /\/bulk\/?$/.test(path);
}
