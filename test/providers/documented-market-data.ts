import type { Documented } from "./documented-trading.ts";

function nasdaqError(code: string, envelope = "quandl_error"): string {
  return JSON.stringify({ [envelope]: { code, message: "m" } });
}

function newsError(code: string): string {
  return JSON.stringify({ status: "error", code, message: "m" });
}

function twelveError(code: number, message: string): string {
  return JSON.stringify({ code, message, status: "error" });
}

const AV = "Thank you for using Alpha Vantage! ";

/** Failures of market-data APIs as they are published, or as their clients expect them. */
export const MARKET_DATA: Readonly<Record<string, readonly Documented[]>> = {
  "alpha-vantage": [
    [200, '{\n    "Error Message": "the parameter apikey is invalid or missing. Please claim your key"\n}', "invalid"],
    [200, '{"Error Message": "Invalid API call. Please retry or visit the documentation"}', "request"],
    [200, `{"Information": "${AV}Our standard API rate limit is 25 requests per day."}`, "quota"],
    [
      200,
      '{"Information": "We have detected your API key as X and our standard API rate limit is 25 requests per day."}',
      "quota",
    ],
    [200, `{"Note": "${AV}Our standard API rate limit is 25 requests per day."}`, "quota"],
    [200, `{"Note": "${AV}Our standard API call frequency is 5 calls per minute and 500 calls per day."}`, "limited"],
    [200, `{"Information": "${AV}This is a premium endpoint. You may subscribe to any of the premium plans"}`, "plan"],
    [
      200,
      '{"Information": "Burst pattern detected. Please consider spreading out your API requests more evenly"}',
      "limited",
    ],
    [
      200,
      `{"Information": "${AV}Please consider spreading out your free API requests more sparingly (1 request per second) ... lift the free key rate limit (25 requests per day)"}`,
      "limited",
    ],
    [
      200,
      '{"Information": "Please stay under the number of API requests per minute for your premium plan."}',
      "limited",
    ],
    [200, '{"Information": "The demo API key is for demo purposes only."}', "unknown"],
    [200, '{"Global Quote": {"01. symbol": "IBM"}}', "ok"],
  ],
  eodhd: [
    [401, "Unauthenticated", "invalid"],
    [403, "Unauthenticated", "invalid"],
    [200, "Unauthenticated", "invalid"],
    [402, "You exceeded your daily API requests limit.  Please contact support@eodhistoricaldata.com", "quota"],
    [200, "You exceeded your daily API requests limit.", "quota"],
    [403, "Forbidden. Please contact support@eodhistoricaldata.com", "unknown"],
    [404, "Ticker Not Found", "request"],
    [429, "API rate limit exceeded", "limited"],
  ],
  finnhub: [
    [401, '{"error":"Invalid API key"}', "invalid"],
    [401, '{"error":"Please use an API key."}', "unknown"],
    [403, '{"error":"You don\'t have access to this resource."}', "plan"],
    [429, '{"error":"API limit reached. Please try again later. Remaining Limit: 0"}', "limited"],
    [429, '{"error":"Please sign up for a free account"}', "unknown"],
  ],
  fmp: [
    [401, '{"Error Message": "Invalid API KEY. Feel free to create a Free API Key"}', "invalid"],
    [402, "Premium Query Parameter: 'Special' is not available under your current subscription", "plan"],
    [402, "Restricted Endpoint: This endpoint is not available under your current subscription", "plan"],
    [402, "Special Endpoint : This endpoint is not available", "plan"],
    [402, "words that nobody has seen yet", "plan"],
    [403, '{"Error Message": "Legacy Endpoint : Due to Legacy endpoints being no longer supported"}', "retired"],
    [403, '{"Error Message": "Exclusive Endpoint : This endpoint is not available"}', "plan"],
    [429, '{"Error Message": "Limit Reach . Please upgrade your plan"}', "quota"],
    [429, '{"Error Message": "Bandwidth Limit Reach . Please upgrade your plan"}', "quota"],
    [200, '{"Error Message": "Limit Reach . Please upgrade your plan"}', "quota"],
    [200, '{\n  "Error Message" : "Invalid API KEY."\n}', "invalid"],
    [403, '{"Error Message": "Special Endpoint : This endpoint is not available"}', "plan"],
    [200, '{"Error Message": "Invalid date"}', "request"],
    [200, '[{"symbol":"AAPL","price":1}]', "ok"],
    [200, "[]", "ok"],
  ],
  fred: [
    [
      400,
      '{"error_code":400,"error_message":"Bad Request.  The value for variable api_key is not registered."}',
      "invalid",
    ],
    [
      400,
      '{"error_code":400,"error_message":"Bad Request. The value for variable api_key is not a 32 character alpha-numeric lower-case string."}',
      "invalid",
    ],
    [
      400,
      '<?xml version="1.0"?><error code="400" message="Bad Request.  The value for variable api_key is not registered." />',
      "invalid",
    ],
    [400, '{"error_code":400,"error_message":"Bad Request.  The series does not exist."}', "request"],
    [423, "Locked", "unknown"],
    [429, "Too Many Requests", "limited"],
  ],
  marketstack: [
    [401, '{"error":{"code":"invalid_access_key","message":"m"}}', "invalid"],
    [401, '{"error":{"code":"inactive_user"}}', "invalid"],
    [401, '{"error":{"code":"missing_access_key"}}', "unknown"],
    [403, '{"error":{"code":"function_access_restricted"}}', "plan"],
    [403, '{"error":{"code":"https_access_restricted"}}', "plan"],
    [404, '{"error":{"code":"404_not_found"}}', "request"],
    [422, '{"error":{"code":"validation_error","context":{}}}', "request"],
    [429, '{"error":{"code":"usage_limit_reached"}}', "quota"],
    [429, '{"error":{"code":"rate_limit_reached"}}', "limited"],
    [500, '{"error":{"code":"internal_error"}}', "unavailable"],
  ],
  "nasdaq-data-link": [
    [400, nasdaqError("QEAx01"), "invalid"],
    [403, nasdaqError("QEPx04"), "plan"],
    [429, nasdaqError("QELx04"), "limited"],
    [429, nasdaqError("QELx02", "error"), "limited"],
    [404, nasdaqError("QECx02"), "request"],
    [422, nasdaqError("QESx04"), "request"],
    [500, nasdaqError("QEXx01"), "unavailable"],
    [400, nasdaqError("QEMx01"), "unavailable"],
  ],
  newsapi: [
    [401, newsError("apiKeyInvalid"), "invalid"],
    [401, newsError("apiKeyDisabled"), "invalid"],
    [401, newsError("apiKeyMissing"), "unknown"],
    [401, newsError("apiKeyExhausted"), "quota"],
    [429, newsError("apiKeyExhausted"), "quota"],
    [401, newsError("rateLimited"), "limited"],
    [429, newsError("rateLimited"), "limited"],
    [400, newsError("parameterInvalid"), "request"],
    [426, newsError("parameterInvalid"), "request"],
    [500, newsError("unexpectedError"), "unavailable"],
  ],
  polygon: [
    [401, '{"status":"ERROR","request_id":"1","error":"Unknown API Key"}', "invalid"],
    [403, '{"status":"NOT_AUTHORIZED","message":"You are not entitled to this data."}', "plan"],
    [429, '{"status":"ERROR","error":"You\'ve exceeded the maximum requests per minute"}', "limited"],
    [404, '{"status":"NOT_FOUND"}', "request"],
  ],
  taapi: [
    [401, '{"error":"Invalid or missing API key."}', "invalid"],
    [429, '{"error":"You have exceeded your request limit (TAAPI.IO rate limit)!"}', "limited"],
    [429, '{"error":{"maxHitsAllowed":1,"blockTime":"1020 seconds"}}', "limited"],
    [200, '{"data":[{"id":"a","result":{},"errors":["No candles found!"]}]}', "request"],
    [200, '{"data":[{"id":"a","result":{"value":1},"errors":[]}]}', "ok"],
  ],
  tiingo: [
    [429, '{"detail":"Error: You have run over your hourly request allocation. Please upgrade"}', "limited"],
    [429, "You have run over your 500 symbol look up for this month. Please upgrade", "quota"],
    [200, "You have run over your 500 symbol look up for this month. Please upgrade", "quota"],
    [200, '{"detail": "You have run over your 50 symbol look up for this month"}', "quota"],
    [200, '{"detail":"Error: You have run over your hourly request allocation."}', "limited"],
    [429, "Too Many Requests", "limited"],
    [200, "Error: You have run over your hourly request allocation. Contact us", "limited"],
    [200, "Error: You have run over your daily request allocation. Contact us", "quota"],
    [200, '{"detail":"Error: You have run over your daily request allocation."}', "quota"],
    [401, '{"detail":"Invalid token."}', "invalid"],
    [404, '{"detail":"Not found."}', "request"],
    [200, '[{"close":1}]', "ok"],
  ],
  "twelve-data": [
    [200, twelveError(401, "**apikey** parameter is incorrect or not specified"), "invalid"],
    [401, twelveError(401, "m"), "invalid"],
    [200, twelveError(403, "/time_series is available exclusively with grow or pro plans"), "plan"],
    [403, twelveError(403, "m"), "plan"],
    [
      200,
      twelveError(429, "You have run out of API credits for the current minute. 10 API credits were used"),
      "limited",
    ],
    [200, twelveError(429, "You have run out of API credits for the day. 801 API credits were used"), "quota"],
    [429, twelveError(429, "You have run out of API credits for the day. 801 API credits were used"), "quota"],
    [429, twelveError(429, "m"), "limited"],
    [200, twelveError(404, "**symbol** not found: ZZZZ"), "request"],
    [200, '{"status": "error", "code": 400, "message": "m"}', "request"],
    [200, twelveError(500, "m"), "unavailable"],
    [
      200,
      '{"AAPL":{"price":"1"},"MSFT":{"code":429,"message":"You have run out of API credits for the current minute"}}',
      "limited",
    ],
    [200, '{"meta":{"symbol":"AAPL"},"values":[],"status":"ok"}', "ok"],
  ],
};
