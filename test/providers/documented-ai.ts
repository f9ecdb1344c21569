import type { Documented } from "./documented-trading.ts";

function openaiError(type: string, code: string | null, message = "m"): string {
  return JSON.stringify({ error: { message, type, param: null, code } }, null, 2);
}

function anthropicError(type: string, message = "m", more = {}): string {
  return JSON.stringify({ type: "error", error: { type, message, ...more }, request_id: "req_1" });
}

function geminiError(code: number, status: string, message: string, reason?: string): string {
  const details = reason === undefined ? [] : [{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason }];
  return JSON.stringify({ error: { code, message, status, details } }, null, 2);
}

/** Failures of model APIs as they are published, or as their clients expect them. */
export const AI: Readonly<Record<string, readonly Documented[]>> = {
  anthropic: [
    [400, anthropicError("invalid_request_error", "messages: at least one message is required"), "request"],
    [
      400,
      anthropicError(
        "invalid_request_error",
        "You have reached your specified API usage limits. You will regain access on 2027-01-01",
      ),
      "quota",
    ],
    [
      400,
      anthropicError("invalid_request_error", "You have reached your specified workspace API usage limits."),
      "quota",
    ],
    [
      400,
      anthropicError("invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
      "quota",
    ],
    [400, anthropicError("invalid_request_error", "This organization has been disabled."), "invalid"],
    [401, anthropicError("authentication_error", "invalid x-api-key"), "invalid"],
    [402, anthropicError("billing_error"), "quota"],
    [403, anthropicError("permission_error"), "forbidden"],
    [403, anthropicError("permission_error", "This organization has been disabled."), "invalid"],
    [404, anthropicError("not_found_error"), "request"],
    [409, anthropicError("conflict_error"), "request"],
    [413, anthropicError("request_too_large"), "request"],
    [429, anthropicError("rate_limit_error"), "limited"],
    [
      429,
      anthropicError("rate_limit_error", "m", { details: { error_code: "enforced_spend_limit_reached" } }),
      "quota",
    ],
    [500, anthropicError("api_error"), "unavailable"],
    [504, anthropicError("timeout_error"), "unavailable"],
    [529, anthropicError("overloaded_error"), "unavailable"],
  ],
  "azure-openai": [
    [
      401,
      '{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint."}}',
      "unknown",
    ],
    [401, '{"error":{"code":"Unauthorized"}}', "invalid"],
    [403, '{"error":{"code":"403","message":"Access denied due to Virtual Network/Firewall rules."}}', "unknown"],
    [403, '{"error":{"code":"403","message":"the resource has been temporarily blocked"}}', "forbidden"],
    [404, '{"error":{"code":"DeploymentNotFound","message":"m"}}', "request"],
    [400, '{"error":{"code":"content_filter","message":"m"}}', "request"],
    [429, '{"error":{"code":"429","message":"m"}}', "limited"],
  ],
  cohere: [
    [401, '{"message":"no api key supplied"}', "unknown"],
    [401, '{"message":"invalid api token"}', "invalid"],
    [401, '{"message":"Your API key has expired."}', "invalid"],
    [402, '{"message":"m"}', "quota"],
    [429, '{"message":"You are using a Trial key, which is limited to 1000 API calls / month."}', "quota"],
    [429, '{"message":"You are using a Trial key, which is limited to 40 API calls / minute."}', "limited"],
  ],
  deepseek: [
    [400, openaiError("invalid_request_error", "invalid_request_error"), "request"],
    [
      401,
      openaiError(
        "authentication_error",
        "invalid_request_error",
        "Authentication Fails, Your api key: ****abcd is invalid",
      ),
      "invalid",
    ],
    [402, openaiError("unknown_error", "invalid_request_error", "Insufficient Balance"), "quota"],
    [422, openaiError("invalid_request_error", null), "request"],
    [429, "", "limited"],
    [500, "", "unavailable"],
    [503, "", "unavailable"],
  ],
  gemini: [
    [
      400,
      geminiError(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", "API_KEY_INVALID"),
      "invalid",
    ],
    [
      400,
      geminiError(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key.", "API_KEY_INVALID"),
      "invalid",
    ],
    [400, geminiError(400, "FAILED_PRECONDITION", "User location is not supported"), "request"],
    [401, geminiError(401, "UNAUTHENTICATED", "m", "ACCESS_TOKEN_TYPE_UNSUPPORTED"), "invalid"],
    [402, geminiError(402, "RESOURCE_EXHAUSTED", "prepaid credits"), "quota"],
    [
      403,
      geminiError(403, "PERMISSION_DENIED", "Permission denied: Consumer has been suspended.", "CONSUMER_SUSPENDED"),
      "invalid",
    ],
    [
      403,
      geminiError(403, "PERMISSION_DENIED", "Your API key was reported as leaked. Please use another API key."),
      "invalid",
    ],
    [403, geminiError(403, "PERMISSION_DENIED", "m", "SERVICE_DISABLED"), "forbidden"],
    [429, geminiError(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota"), "limited"],
    [503, geminiError(503, "UNAVAILABLE", "The model is overloaded."), "unavailable"],
  ],
  groq: [
    [401, openaiError("invalid_request_error", "invalid_api_key", "Invalid API Key"), "invalid"],
    [403, openaiError("permissions_error", null), "forbidden"],
    [413, openaiError("tokens", "rate_limit_exceeded", "Request too large for model"), "request"],
    [429, openaiError("tokens", "rate_limit_exceeded"), "limited"],
    [498, openaiError("server_error", "capacity_exceeded"), "unavailable"],
    [503, "", "unavailable"],
  ],
  "hugging-face": [
    [401, '{"error":"Invalid username or password."}', "invalid"],
    [402, '{"error":"You have exceeded your monthly included credits for Inference Providers."}', "quota"],
    [403, '{"error":"This authentication method does not have sufficient permissions"}', "forbidden"],
    [429, '{"error":"rate limit"}', "limited"],
  ],
  mistral: [
    [401, '{"object":"error","message":"Unauthorized"}', "invalid"],
    [402, '{"object":"error","message":"m"}', "quota"],
    [403, '{"object":"error","message":"m"}', "forbidden"],
    [422, '{"object":"error","message":"m"}', "request"],
    [429, '{"message":"Requests rate limit exceeded"}', "limited"],
  ],
  openai: [
    [401, openaiError("invalid_request_error", "invalid_api_key", "Incorrect API key provided: sk-***."), "invalid"],
    [
      401,
      openaiError(
        "invalid_request_error",
        null,
        "You have insufficient permissions for this operation. Missing scopes: model.request",
      ),
      "forbidden",
    ],
    [403, openaiError("invalid_request_error", null, "Missing scopes: api.model.read"), "forbidden"],
    [401, openaiError("invalid_request_error", "ip_not_authorized"), "unknown"],
    [401, openaiError("invalid_request_error", "account_deactivated"), "invalid"],
    [403, openaiError("request_forbidden", "unsupported_country_region_territory"), "unknown"],
    [429, openaiError("insufficient_quota", "insufficient_quota"), "quota"],
    [429, openaiError("insufficient_quota", null), "quota"],
    [429, openaiError("billing", "insufficient_quota"), "quota"],
    [429, openaiError("billing", "credit_balance_exhausted"), "quota"],
    [429, openaiError("insufficient_quota", "credit_balance_exhausted"), "quota"],
    [429, openaiError("billing", "project_spend_limit_exceeded"), "quota"],
    [429, openaiError("billing", "organization_spend_limit_exceeded"), "quota"],
    [429, openaiError("billing", "organization_usage_limit_exceeded"), "quota"],
    [429, openaiError("billing_not_active", "billing_not_active"), "quota"],
    [400, openaiError("image_generation_user_error", "billing_hard_limit_reached"), "quota"],
    [429, openaiError("requests", "rate_limit_exceeded"), "limited"],
    [429, openaiError("rate_limit_error", "slow_down"), "limited"],
    [
      404,
      openaiError("invalid_request_error", "model_not_found", "The model `insufficient_quota` does not exist"),
      "request",
    ],
    [503, openaiError("service_unavailable_error", "server_is_overloaded"), "unavailable"],
  ],
  openrouter: [
    [401, '{"error":{"code":401,"message":"User not found."}}', "invalid"],
    [
      402,
      '{"error":{"code":402,"message":"Insufficient credits. Add more using https://openrouter.ai/settings/credits"}}',
      "quota",
    ],
    [
      402,
      '{"error":{"code":402,"message":"This request requires more credits, or fewer max_tokens. You requested up to 32000 tokens, but can only afford 12"}}',
      "request",
    ],
    [402, '{"error":{"code":402,"message":"m","metadata":{"error_type":"in_flight_budget_exhausted"}}}', "limited"],
    [402, '{"error":{"code":402,"message":"m","metadata":{"error_type":"weight_exceeds_budget"}}}', "request"],
    [403, '{"error":{"code":403,"message":"flagged","metadata":{"reasons":["violence"]}}}', "request"],
    [429, '{"error":{"code":429,"message":"m"}}', "limited"],
    [502, '{"error":{"code":502,"message":"m"}}', "unavailable"],
  ],
  perplexity: [
    [401, "<html><head><title>401 Authorization Required</title></head></html>", "invalid"],
    [429, openaiError("rate_limit", null), "limited"],
  ],
  xai: [
    [400, '{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***zz."}', "invalid"],
    [400, '{"code":"Client specified an invalid argument","error":"Model not found: Incorrect API key"}', "request"],
    [
      403,
      '{"code":"permission-denied","error":"Your team 1 has either used all available credits or reached its monthly spending limit."}',
      "quota",
    ],
    [
      403,
      '{"code":"permission-denied","error":"Your newly created team doesn\'t have any credits or licenses yet."}',
      "quota",
    ],
    [
      429,
      '{"error":"Your team 1 has either used all available credits or reached its monthly spending limit."}',
      "quota",
    ],
    [401, '{"error":"Unauthorized"}', "invalid"],
    [403, '{"error":"You have run out of credits or need a Grok subscription."}', "quota"],
    [429, '{"error":"Too many requests"}', "limited"],
  ],
};
