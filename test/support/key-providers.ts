import { azureProvider, iamProvider } from "./cloud-key-providers.ts";
import {
  type Answer,
  bearer,
  bodyOf,
  build,
  json,
  type KeyBook,
  type KeyProvider,
  type ProviderKey,
} from "./key-provider.ts";
import type { ReceivedRequest } from "./stand-in.ts";

const OPENAI_PROJECT = "/v1/organization/projects/proj_abc";
const OPENAI_ADMIN = "sk-admin-CANARYADMIN0123456789abcdef0123456789abcdef";
const OPENAI_OLD = "sk-proj-CANARYOLD00000000000000000000000000wxyz";

/** platform.openai.com/docs/api-reference/project-service-accounts and project-api-keys. */
export function openaiProvider(): KeyProvider {
  return build({
    rotator: "openai",
    hosts: ["api.openai.com"],
    credentialHosts: ["api.openai.com"],
    fields: { api_key: OPENAI_OLD },
    admin: { provider: "openai-admin", fields: { admin_key: OPENAI_ADMIN } },
    settings: { project: "proj_abc" },
    first: (book) => void book.add("made by hand", OPENAI_OLD, "key_old"),
    answer(request, book) {
      const code = "invalid_api_key";
      const wrong = { error: { message: "Incorrect API key provided", type: "invalid_request_error", code } };
      if (request.target === "/v1/models") {
        return book.accepts(bearer(request)) ? json({ object: "list", data: [] }) : json(wrong, 401);
      }
      return bearer(request) === OPENAI_ADMIN ? administration(request, book) : json(wrong, 401);
    },
  });
}

function administration(request: ReceivedRequest, book: KeyBook): Answer {
  const { method, target } = request;
  const [path = "", query = ""] = target.split("?");
  if (!path.startsWith(OPENAI_PROJECT)) return json({ error: { message: "Project not found" } }, 404);
  const place = path.slice(OPENAI_PROJECT.length);
  if (method === "POST" && place === "/service_accounts") return serviceAccount(String(bodyOf(request).name), book);
  if (method === "GET" && place === "/service_accounts") return accountPage(query, book);
  if (method === "GET" && place === "/api_keys") {
    const data = book.keys.map(({ id, name, value }) => {
      const redacted = `${value.slice(0, 8)}************${value.slice(-4)}`;
      return { object: "organization.project.api_key", redacted_value: redacted, name, created_at: 1, id };
    });
    return json({ object: "list", data, first_id: "a", last_id: "b", has_more: false });
  }
  const id = path.split("/").pop() ?? "";
  const deleted = method === "DELETE" && book.remove(id);
  const object = "organization.project.service_account.deleted";
  return deleted ? json({ object, id, deleted }) : json({ error: { message: "not found" } }, 404);
}

const ACCOUNT = "organization.project.service_account";

function serviceAccount(name: string, book: KeyBook): Answer {
  const value = book.fresh("sk-svcacct-");
  const { id } = book.add(name, value, `svc_acct_${value.slice(-6)}`);
  const key = { object: `${ACCOUNT}.api_key`, value, name: "Secret Key", created_at: 1, id: `key_of_${id}` };
  return json({ object: ACCOUNT, id, name, role: "member", created_at: 1, api_key: key });
}

/** One on each page, so that the pages are followed. */
function accountPage(query: string, book: KeyBook): Answer {
  const accounts = book.keys.filter(({ id }) => id.startsWith("svc_acct_"));
  const after = new URLSearchParams(query).get("after");
  const from = after === null ? 0 : accounts.findIndex(({ id }) => id === after) + 1;
  const data = accounts.slice(from, from + 1).map(({ id, name }) => {
    return { object: ACCOUNT, id, name, role: "member", created_at: 1 };
  });
  const id = data[0]?.id ?? null;
  return json({ object: "list", data, first_id: id, last_id: id, has_more: from + 1 < accounts.length });
}

const OPENROUTER_ADMIN = "sk-or-v1-CANARYPROVISIONING0123456789";
const OPENROUTER_OLD = `sk-or-v1-CANARYOLD${"0".repeat(46)}`;

/** openrouter.ai/docs/api/api-reference/api-keys. */
export function openrouterProvider(): KeyProvider {
  const label = (value: string) => `${value.slice(0, 12)}...${value.slice(-3)}`;
  const shown = ({ id, name, value }: ProviderKey) => ({
    hash: id,
    name,
    label: label(value),
    disabled: false,
    limit: null,
    created_at: "2026-01-01T00:00:00Z",
  });
  return build({
    rotator: "openrouter",
    hosts: ["openrouter.ai"],
    credentialHosts: ["openrouter.ai"],
    fields: { api_key: OPENROUTER_OLD },
    admin: { provider: "openrouter-provisioning", fields: { provisioning_key: OPENROUTER_ADMIN } },
    first: (book) => void book.add("by hand", OPENROUTER_OLD, "hash-old"),
    answer(request, book) {
      const { method, target } = request;
      const path = target.split("?")[0] ?? "";
      const refused = json({ error: { code: 401, message: "User not found." } }, 401);
      if (path === "/api/v1/key") {
        const key = book.keys.find(({ value }) => value === bearer(request));
        if (!book.accepts(bearer(request))) return refused;
        return json({ data: { label: key ? label(key.value) : "gone", usage: 0, limit: null, is_free_tier: false } });
      }
      if (bearer(request) !== OPENROUTER_ADMIN) return refused;
      if (method === "POST") {
        const key = book.add(String(bodyOf(request).name), book.fresh("sk-or-v1-"));
        return json({ data: shown(key), key: key.value }, 201);
      }
      if (method === "GET") return json({ data: book.keys.map(shown) });
      return book.remove(path.split("/").pop() ?? "")
        ? json({ deleted: true })
        : json({ error: { code: 404, message: "Not found" } }, 404);
    },
  });
}

const XAI_ADMIN = "xai-token-CANARYMANAGEMENT0123456789";
const XAI_OLD = `xai-CANARYOLD${"0".repeat(71)}`;

/** docs.x.ai, Management API, and GET /v1/api-key. */
export function xaiProvider(): KeyProvider {
  return build({
    rotator: "xai",
    hosts: ["api.x.ai", "management-api.x.ai"],
    credentialHosts: ["api.x.ai"],
    fields: { api_key: XAI_OLD },
    admin: { provider: "xai-management", fields: { management_key: XAI_ADMIN } },
    settings: { team: "team-1" },
    first: (book) => void book.add("by hand", XAI_OLD, "xai-key-old"),
    answer(request, book) {
      const { method, target } = request;
      const path = target.split("?")[0] ?? "";
      if (path === "/v1/api-key") {
        const key = book.keys.find(({ value }) => value === bearer(request));
        if (!book.accepts(bearer(request)))
          return json({ code: "invalid-argument", error: "Incorrect API key provided: xa***00." }, 400);
        return json({
          redacted_api_key: "xai-...0000",
          name: key?.name ?? "",
          acls: ["api-key:model:*", "api-key:endpoint:chat"],
          api_key_id: key?.id ?? "x",
          team_id: "team-1",
        });
      }
      if (bearer(request) !== XAI_ADMIN) return json({ code: 16, message: "Invalid bearer token" }, 401);
      if (method === "POST" && path === "/auth/teams/team-1/api-keys") {
        const { name, acls } = bodyOf(request);
        if (JSON.stringify(acls) !== '["api-key:model:*","api-key:endpoint:chat"]')
          return json({ message: "acls" }, 400);
        const key = book.add(String(name), book.fresh("xai-"));
        return json({ apiKey: key.value, apiKeyId: key.id, name, redactedApiKey: "xai-...", aclStrings: acls });
      }
      if (method === "GET" && path === "/auth/teams/team-1/api-keys") {
        return json({ apiKeys: book.keys.map(({ id, name }) => ({ apiKeyId: id, name, redactedApiKey: "xai-..." })) });
      }
      if (method === "DELETE" && path.startsWith("/auth/api-keys/") && book.remove(path.split("/").pop() ?? ""))
        return json({});
      return json({ code: 5, message: "not found" }, 404);
    },
  });
}

const PERPLEXITY_OLD = `pplx-CANARYOLD${"0".repeat(39)}`;

/** docs.perplexity.ai/guides/api-key-management. */
export function perplexityProvider(): KeyProvider {
  return build({
    rotator: "perplexity",
    hosts: ["api.perplexity.ai"],
    credentialHosts: ["api.perplexity.ai"],
    fields: { api_key: PERPLEXITY_OLD },
    admin: null,
    first: (book) => void book.add("by hand", PERPLEXITY_OLD),
    answer(request, book) {
      if (!book.accepts(bearer(request)))
        return json({ error: { message: "Invalid API key", type: "invalid_api_key", code: 401 } }, 401);
      const body = bodyOf(request);
      if (request.target === "/generate_auth_token") {
        const key = book.add(String(body.token_name), book.fresh("pplx-"));
        return json({ auth_token: key.value, token_name: key.name, created_at_epoch_seconds: 1_735_689_600.5 });
      }
      if (request.target === "/revoke_auth_token") {
        const key = book.keys.find(({ value }) => value === body.auth_token);
        return key && book.remove(key.id) ? { status: 200 } : json({ error: { message: "unknown token" } }, 400);
      }
      return json({ error: { message: "messages: field required", type: "bad_request", code: 400 } }, 400);
    },
  });
}

/** A new one of each, by the id of its rotator. */
export const KEY_PROVIDERS: Readonly<Record<string, () => KeyProvider>> = {
  openai: openaiProvider,
  openrouter: openrouterProvider,
  xai: xaiProvider,
  perplexity: perplexityProvider,
  "aws-iam": iamProvider,
  "azure-openai": azureProvider,
};
