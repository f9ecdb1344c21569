import type { ReceivedRequest, StandInAnswer } from "../../support/stand-in.ts";
import { json, jsonBody, sha256 } from "./answer-parts.ts";

const ACCOUNT = {
  id: "904837e3-3b76-47ec-b432-046db621571b",
  account_number: "010203ABCD",
  status: "ACTIVE",
  currency: "USD",
  cash: "-23140.2",
  buying_power: "262113.632",
  portfolio_value: "103820.56",
  equity: "103820.56",
  trading_blocked: false,
  account_blocked: false,
};

/** As much of Alpaca's trading API as the clients' tests use. The symbol NONE does not exist. */
export function alpacaAnswer(request: ReceivedRequest): StandInAnswer {
  const path = request.target.split("?")[0] ?? "";
  if (request.method === "GET" && path === "/v2/account") return json(ACCOUNT);
  if (request.method === "GET" && path === "/v2/orders")
    return json([order({ symbol: "MSFT", qty: "2", side: "sell" })]);
  if (request.method === "DELETE" && path.startsWith("/v2/orders/")) return "HTTP/1.1 204 No Content\r\n\r\n";
  if (request.method !== "POST" || path !== "/v2/orders") {
    return json({ code: 40410000, message: `${path} does not exist` }, 404);
  }
  const asked = jsonBody(request);
  if (asked.symbol === "NONE") return json({ code: 42210000, message: 'asset "NONE" not found' }, 422);
  return json(order(asked));
}

function order(asked: Record<string, unknown>): Record<string, unknown> {
  const at = "2026-01-02T15:04:05.678Z";
  return {
    id: "61e69015-8549-4bfd-b9c3-01e75843f47d",
    client_order_id: asked.client_order_id ?? "made-by-alpaca",
    created_at: at,
    updated_at: at,
    submitted_at: at,
    filled_at: null,
    asset_id: "b0b6dd9d-8b9b-48a9-ba46-b9d54906e415",
    asset_class: "us_equity",
    symbol: asked.symbol,
    qty: String(asked.qty),
    filled_qty: "0",
    order_class: "simple",
    order_type: "market",
    type: "market",
    side: asked.side,
    time_in_force: asked.time_in_force ?? "day",
    status: "accepted",
    extended_hours: false,
    legs: null,
  };
}

/** What `git ls-remote` prints of the repository behind Financial Modeling Prep's host. */
export const GIT_REFS = `${"1".repeat(40)}\tHEAD\n${"1".repeat(40)}\trefs/heads/main\n`;

// Git's older HTTP transport, which needs nothing but files.
function repositoryFile(path: string): StandInAnswer | null {
  if (path === "/repo.git/info/refs") return { body: `${"1".repeat(40)}\trefs/heads/main\n` };
  return path === "/repo.git/HEAD" ? { body: "ref: refs/heads/main\n" } : null;
}

/** A quote as Financial Modeling Prep gives it; anything with a body is answered with what was received. */
export function fmpAnswer(request: ReceivedRequest): StandInAnswer {
  if (request.method !== "GET") {
    const framing = request.values("transfer-encoding")[0] ?? `${request.values("content-length")[0]} bytes`;
    return json({ method: request.method, framing, size: request.body.length, sha256: sha256(request.body) });
  }
  const [path = "", query = ""] = request.target.split("?");
  const quote = { symbol: new URLSearchParams(query).get("symbol"), price: 227.48, path };
  return repositoryFile(path) ?? json([quote]);
}
