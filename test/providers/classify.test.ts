import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { loadCatalog } from "../../src/providers/catalog.ts";
import { type Answer, classifyProbe, learnedExpiry, type Meaning, refusesKey } from "../../src/providers/classify.ts";
import type { Provider } from "../../src/providers/schema.ts";
import { CATALOG_DIR } from "../support/running-sidekey.ts";

const catalog = loadCatalog(CATALOG_DIR);

function provider(id: string): Provider {
  const found = catalog.providers.get(id);
  assert.ok(found, `${id} is not in the catalog`);
  return found;
}

function answer(status: number, body = "", headers: Record<string, string> = {}): Answer {
  return { status, headers: new Map(Object.entries(headers)), body: Buffer.from(body) };
}

/** Answers as the providers document them, or as their clients expect them. */
const DOCUMENTED: Readonly<Record<string, readonly (readonly [status: number, body: string, means: Meaning])[]>> = {
  alpaca: [
    [200, '{"status":"ACTIVE"}', "valid"],
    [401, '{"code":40110000,"message":"request is not authorized"}', "invalid"],
    [403, '{"message":"forbidden."}', "invalid"],
    [403, '{"message":"insufficient buying power"}', "unknown"],
    [429, "too many requests", "limited"],
  ],
  "alpha-vantage": [
    [200, '{"Global Quote":{"01. symbol":"IBM"}}', "valid"],
    [200, '{"Error Message":"the parameter apikey is invalid or missing. Please claim your free API key"}', "invalid"],
    [
      200,
      '{"Information":"We have detected your API key as ABC and our standard API rate limit is 25 requests per day."}',
      "limited",
    ],
    [200, '{ "Note": "Thank you for using Alpha Vantage!" }', "unknown"],
  ],
  anthropic: [
    [200, '{"data":[]}', "valid"],
    [401, '{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}', "invalid"],
    [403, '{"type":"error","error":{"type":"permission_error"}}', "forbidden"],
    [
      400,
      '{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits."}}',
      "limited",
    ],
    [402, '{"type":"error","error":{"type":"billing_error"}}', "plan"],
    [429, '{"type":"error","error":{"type":"rate_limit_error"}}', "limited"],
    [529, '{"type":"error","error":{"type":"overloaded_error"}}', "unknown"],
  ],
  "azure-openai": [
    [200, '{"data":[]}', "valid"],
    [
      401,
      '{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint."}}',
      "unknown",
    ],
    [401, '{"error":{"code":"Unauthorized"}}', "invalid"],
  ],
  cohere: [
    [200, '{"valid": true,"organization_id":"x"}', "valid"],
    [200, '{"valid":false}', "invalid"],
    [200, "{}", "unknown"],
    [401, '{"message":"no api key supplied"}', "unknown"],
    [401, '{"message":"invalid api token"}', "invalid"],
  ],
  deepseek: [
    [200, '{"is_available":true}', "valid"],
    [401, '{"error":{"message":"Authentication Fails, Your api key: ****abcd is invalid"}}', "invalid"],
    [402, '{"error":{"message":"Insufficient Balance"}}', "limited"],
  ],
  eodhd: [
    [200, '{"name":"A","subscriptionMode":"free"}', "valid"],
    [200, "Unauthenticated", "invalid"],
    [401, "Unauthenticated", "invalid"],
    [403, "Unauthenticated", "invalid"],
    [403, "Forbidden. Please contact support", "unknown"],
    [429, "API rate limit exceeded", "limited"],
  ],
  finnhub: [
    [200, '{"c":261.74}', "valid"],
    [401, '{"error":"Invalid API key"}', "invalid"],
    [401, '{"error":"Please use an API key."}', "unknown"],
    [403, '{"error":"You don\'t have access to this resource."}', "plan"],
    [429, '{"error":"Please sign up at finnhub.io"}', "unknown"],
    [429, '{"error":"API limit reached. Please try again later."}', "limited"],
  ],
  fmp: [
    [200, '[{"symbol":"AAPL"}]', "valid"],
    [200, '{\n  "Error Message": "Limit Reach . Please upgrade your plan"\n}', "limited"],
    [200, '{"Error Message": "Invalid API KEY. Feel free to create a Free API Key"}', "invalid"],
    [401, '{"Error Message": "Invalid API KEY."}', "invalid"],
    [402, "Premium Query Parameter: this value is not available under your current subscription", "plan"],
    [403, '{"Error Message": "Legacy Endpoint : this endpoint is only available for legacy users"}', "valid"],
    [429, '{"Error Message": "Limit Reach"}', "limited"],
  ],
  fred: [
    [200, '{"categories":[]}', "valid"],
    [
      400,
      '{"error_code":400,"error_message":"Bad Request.  The value for variable api_key is not registered."}',
      "invalid",
    ],
    [400, '{"error_code":400,"error_message":"Bad Request.  The series does not exist."}', "unknown"],
  ],
  gemini: [
    [200, '{"models":[]}', "valid"],
    [400, '{"error":{"code":400,"message":"API key not valid.","details":[{"reason":"API_KEY_INVALID"}]}}', "invalid"],
    [400, '{"error":{"code":400,"status":"INVALID_ARGUMENT"}}', "unknown"],
    [403, '{"error":{"code":403,"status":"PERMISSION_DENIED"}}', "forbidden"],
    [429, '{"error":{"status":"RESOURCE_EXHAUSTED"}}', "limited"],
  ],
  "hugging-face": [
    [200, '{"type":"user"}', "valid"],
    [401, '{"error":"Invalid credentials in Authorization header"}', "invalid"],
  ],
  marketstack: [
    [401, '{"error":{"code":"invalid_access_key"}}', "invalid"],
    [401, '{"error":{"code":"missing_access_key"}}', "unknown"],
  ],
  "nasdaq-data-link": [
    [200, "Date,Value", "valid"],
    [400, '{"quandl_error":{"code":"QEAx01","message":"We could not recognize your API key."}}', "invalid"],
    [403, '{"quandl_error":{"code":"QEPx04","message":"You do not have permission to view this dataset."}}', "plan"],
    [429, '{"quandl_error":{"code":"QELx04"}}', "limited"],
    [400, '{"quandl_error":{"code":"QESx04"}}', "unknown"],
  ],
  newsapi: [
    [200, '{"status":"ok"}', "valid"],
    [200, '{"status": "error", "code": "unexpectedError"}', "unknown"],
    [401, '{"status":"error","code":"apiKeyInvalid"}', "invalid"],
    [401, '{"status":"error","code":"apiKeyMissing"}', "unknown"],
    [401, '{"status":"error","code":"apiKeyExhausted"}', "limited"],
  ],
  openai: [
    [200, '{"object":"list"}', "valid"],
    [401, '{"error":{"code":"invalid_api_key"}}', "invalid"],
    [
      401,
      '{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: api.model.read"}}',
      "valid",
    ],
    [403, '{"error":{"message":"Missing scopes: api.model.read"}}', "valid"],
    [403, '{"error":{"code":"unsupported_country_region_territory"}}', "unknown"],
    [429, '{"error":{"code":"insufficient_quota"}}', "plan"],
    [429, '{"error":{"code":"rate_limit_exceeded"}}', "limited"],
  ],
  openrouter: [
    [200, '{"data":{"label":"x"}}', "valid"],
    [401, '{"error":{"code":401,"message":"No auth credentials found"}}', "invalid"],
  ],
  polygon: [
    [401, '{"status":"ERROR","error":"Unknown API Key"}', "invalid"],
    [403, '{"status":"NOT_AUTHORIZED","message":"You are not entitled to this data."}', "plan"],
  ],
  "twelve-data": [
    [200, '{"current_usage":1,"plan_limit":8}', "valid"],
    [200, '{"code":401,"message":"**apikey** parameter is incorrect or not specified.","status":"error"}', "invalid"],
    [200, '{ "code": 429, "message": "You have run out of API credits", "status": "error" }', "limited"],
    [200, '{"code":400,"message":"no","status":"error"}', "unknown"],
    [401, '{"code":401,"status":"error"}', "invalid"],
  ],
  xai: [
    [200, '{"redacted_api_key":"xai-...b14o"}', "valid"],
    [400, '{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***zz."}', "invalid"],
    [400, '{"error":"a bad request"}', "unknown"],
  ],
};

for (const [id, cases] of Object.entries(DOCUMENTED)) {
  test(`${id}: its documented answers are read as what they mean`, () => {
    for (const [status, body, means] of cases) {
      assert.equal(classifyProbe(provider(id), answer(status, body)), means, `${status} ${body}`);
    }
  });
}

test("every provider with a probe tells a good key from a server in trouble", () => {
  for (const each of catalog.providers.values()) {
    if (each.probe === null) continue;
    const [good] = each.probe.valid;
    assert.equal(classifyProbe(each, answer(good ?? 0, '{"valid": true}')), "valid", each.id);
    for (const status of [301, 302, 404 + 6, 500, 502, 503]) {
      assert.notEqual(classifyProbe(each, answer(status, "<html>down</html>")), "invalid", `${each.id} ${status}`);
      assert.notEqual(classifyProbe(each, answer(status, "<html>down</html>")), "valid", `${each.id} ${status}`);
    }
  }
});

test("a provider without a probe says nothing", () => {
  assert.equal(classifyProbe({ probe: null, errors: [] }, answer(401)), "unknown");
});

test("only the beginning of a body is looked at", () => {
  const padded = (blanks: number) => answer(200, `${"x".repeat(blanks)}Invalid API KEY`);
  assert.equal(classifyProbe(provider("fmp"), padded(60_000)), "invalid");
  assert.equal(classifyProbe(provider("fmp"), padded(70_000)), "valid");
});

test("a compressed answer, which nobody asked for, is not taken for a good one where the text matters", () => {
  const body = gzipSync('{"code":401,"status":"error"}');
  const packed = { status: 200, headers: new Map([["content-encoding", "gzip"]]), body };
  assert.equal(classifyProbe(provider("twelve-data"), packed), "unknown");
  assert.equal(classifyProbe(provider("hugging-face"), packed), "valid");
});

test("traffic is suspicious with 401 and 403 alone", () => {
  const suspicious = [200, 101, 204, 301, 400, 401, 402, 403, 404, 407, 429, 500, 503].filter(refusesKey);
  assert.deepEqual(suspicious, [401, 403]);
});

test("an expiry is learned from JSON and headers in every format, and nothing is made of nonsense", () => {
  const at = Date.UTC(2027, 11, 31, 23, 59, 59);
  const iso = { json: "/data/expires_at", format: "iso" } as const;
  assert.equal(learnedExpiry(iso, answer(200, '{"data":{"expires_at":"2027-12-31T23:59:59Z"}}')), at);
  for (const body of [
    "",
    "null",
    "[]",
    '{"data":null}',
    '{"data":{}}',
    '{"data":{"expires_at":null}}',
    '{"data":{"expires_at":"never"}}',
    '{"data":{"expires_at":{}}}',
    "{",
  ]) {
    assert.equal(learnedExpiry(iso, answer(200, body)), null, body);
  }
  const header = { header: "x-expires", format: "epoch-seconds" } as const;
  assert.equal(learnedExpiry(header, answer(200, "", { "x-expires": String(at / 1000) })), at);
  for (const told of ["0", "-5", "", "soon", "99999999999999"]) {
    assert.equal(learnedExpiry(header, answer(200, "", { "x-expires": told })), null, told);
  }
  assert.equal(learnedExpiry({ json: "/e", format: "epoch-ms" }, answer(200, `{"e":${at}}`)), at);
  assert.equal(learnedExpiry(null, answer(200, `{"e":${at}}`)), null);
  assert.equal(
    learnedExpiry(provider("openrouter").expiry, answer(200, '{"data":{"expires_at":"2027-12-31T23:59:59Z"}}')),
    at,
  );
  assert.equal(
    learnedExpiry(provider("hugging-face").expiry, answer(200, '{"auth":{"expiresAt":"2027-12-31T23:59:59Z"}}')),
    at,
  );
  assert.equal(learnedExpiry({ json: "/__proto__/x", format: "iso" }, answer(200, "{}")), null);
});
