import type { TrafficMeaning } from "../../src/providers/classify-traffic.ts";

/** One failure as its provider documents it. */
export type Documented = readonly [status: number, body: string, means: TrafficMeaning];

/** Failures of trading APIs as they are published, or as their clients expect them. */
export const TRADING: Readonly<Record<string, readonly Documented[]>> = {
  alpaca: [
    [401, '{"code":40110000,"message":"request is not authorized"}', "invalid"],
    [403, '{"message":"forbidden."}', "invalid"],
    [403, '{"code":40310000,"message":"insufficient buying power"}', "request"],
    [422, '{"code":42210000,"message":"qty must be > 0"}', "request"],
    [429, '{"message":"too many requests."}', "limited"],
    [500, '{"message":"internal server error"}', "unavailable"],
  ],
  "alpaca-broker": [
    [401, "", "invalid"],
    [403, '{"code":40310000,"message":"account is not allowed to trade"}', "request"],
    [429, '{"code":42910000,"message":"rate limit exceeded"}', "limited"],
  ],
  ibkr: [
    [400, '{"error":"Bad Request: no bridge","statusCode":400}', "session"],
    [401, "", "session"],
    [410, '{"error":"gone"}', "session"],
    [429, "", "limited"],
  ],
  schwab: [
    [401, '{"errors":[{"status":401,"title":"Unauthorized"}]}', "session"],
    [429, "", "limited"],
  ],
  tradier: [
    [401, "Invalid Access Token", "invalid"],
    [429, "Quota Violation", "limited"],
  ],
};
