import type { Socket } from "node:net";
import type { ReceivedRequest, StandInAnswer, StandInHandler } from "./stand-in.ts";

/** One key at a provider. */
export interface ProviderKey {
  readonly id: string;
  readonly name: string;
  readonly value: string;
  readonly createdAt: number;
}

/** What a test does to the next answers. `lose`: the work is done, but the answer never arrives. */
export type Trouble = (request: ReceivedRequest) => StandInAnswer | "lose" | undefined;

/** A provider that makes and ends keys, as its documentation says that it answers. */
export interface KeyProvider {
  readonly rotator: string;
  readonly hosts: readonly string[];
  /** The stored fields of the credential that is rotated, and of its admin. */
  readonly fields: Readonly<Record<string, string>>;
  readonly admin: { readonly provider: string; readonly fields: Readonly<Record<string, string>> } | null;
  readonly credentialHosts: readonly string[];
  readonly settings: Readonly<Record<string, string>>;
  readonly handler: StandInHandler;
  /** Values of the keys that work now. */
  alive(): string[];
  trouble: Trouble;
  /** Keys that it goes on accepting although they are ended. */
  readonly undead: Set<string>;
  /** A key that somebody else makes. */
  plant(name: string): void;
}

type Answer = { status?: number; body?: string; headers?: Record<string, string> };

const json = (value: unknown, status = 200): Answer => ({
  status,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(value),
});

interface Parts {
  readonly rotator: string;
  readonly hosts: readonly string[];
  readonly fields: Readonly<Record<string, string>>;
  readonly admin: KeyProvider["admin"];
  readonly credentialHosts: readonly string[];
  readonly settings?: Readonly<Record<string, string>>;
  answer(request: ReceivedRequest, book: KeyBook): Answer;
  first(book: KeyBook): void;
}

/** The keys of one provider, and what makes their values. */
export class KeyBook {
  readonly keys: ProviderKey[] = [];
  readonly undead = new Set<string>();
  #made = 0;
  now = Date.UTC(2026, 0, 1);

  add(name: string, value: string, id = `id-${++this.#made}`): ProviderKey {
    const key = { id, name, value, createdAt: this.now };
    this.keys.push(key);
    return key;
  }

  /** Sixteen characters and more, like no other: a canary. */
  fresh(prefix: string): string {
    return `${prefix}CANARY${String(++this.#made).padStart(26, "x")}`;
  }

  accepts(value: string | undefined): boolean {
    return value !== undefined && (this.undead.has(value) || this.keys.some((key) => key.value === value));
  }

  remove(id: string): boolean {
    const at = this.keys.findIndex((key) => key.id === id);
    if (at !== -1) this.keys.splice(at, 1);
    return at !== -1;
  }
}

function build(parts: Parts): KeyProvider {
  const book = new KeyBook();
  parts.first(book);
  const provider: KeyProvider = {
    ...parts,
    settings: parts.settings ?? {},
    undead: book.undead,
    trouble: () => undefined,
    alive: () => book.keys.map(({ value }) => value),
    plant: (name) => void book.add(name, book.fresh("other-"), "AKIAOTHER00000000000"),
    handler: (request: ReceivedRequest, socket: Socket) => {
      const trouble = provider.trouble(request);
      if (trouble !== undefined && trouble !== "lose") return trouble;
      const answer = parts.answer(request, book);
      if (trouble !== "lose") return answer;
      socket.destroy();
      return undefined;
    },
  };
  return provider;
}

export function bearer(request: ReceivedRequest): string | undefined {
  return request.values("authorization")[0]?.replace(/^Bearer /, "");
}

function bodyOf(request: ReceivedRequest): Record<string, unknown> {
  return request.body.length === 0 ? {} : (JSON.parse(request.body.toString()) as Record<string, unknown>);
}

const OPENAI_ADMIN = "sk-admin-CANARYADMIN0123456789abcdef0123456789abcdef";
const OPENAI_OLD = "sk-proj-CANARYOLD00000000000000000000000000wxyz";

/** platform.openai.com/docs/api-reference/project-service-accounts and project-api-keys. */
export function openaiProvider(): KeyProvider {
  const base = "/v1/organization/projects/proj_abc";
  return build({
    rotator: "openai",
    hosts: ["api.openai.com"],
    credentialHosts: ["api.openai.com"],
    fields: { api_key: OPENAI_OLD },
    admin: { provider: "openai-admin", fields: { admin_key: OPENAI_ADMIN } },
    settings: { project: "proj_abc" },
    first: (book) => void book.add("made by hand", OPENAI_OLD, "key_old"),
    answer(request, book) {
      const { method, target } = request;
      const [path = "", query = ""] = target.split("?");
      const wrong = {
        error: { message: "Incorrect API key provided", type: "invalid_request_error", code: "invalid_api_key" },
      };
      if (path === "/v1/models")
        return book.accepts(bearer(request)) ? json({ object: "list", data: [] }) : json(wrong, 401);
      if (bearer(request) !== OPENAI_ADMIN) return json(wrong, 401);
      if (!path.startsWith(base)) return json({ error: { message: "Project not found", code: "not_found" } }, 404);
      const accounts = book.keys.filter(({ id }) => id.startsWith("svc_acct_"));
      if (method === "POST" && path === `${base}/service_accounts`) {
        const name = String(bodyOf(request).name);
        const key = book.add(name, book.fresh("sk-svcacct-"), `svc_acct_${accounts.length + 1}${Date.now() % 1000}`);
        const made = {
          object: "organization.project.service_account.api_key",
          value: key.value,
          name: "Secret Key",
          created_at: 1,
          id: `key_of_${key.id}`,
        };
        return json({
          object: "organization.project.service_account",
          id: key.id,
          name,
          role: "member",
          created_at: 1,
          api_key: made,
        });
      }
      if (method === "GET" && path === `${base}/service_accounts`) {
        // One on each page, so that the pages are followed.
        const after = new URLSearchParams(query).get("after");
        const from = after === null ? 0 : accounts.findIndex(({ id }) => id === after) + 1;
        const page = accounts.slice(from, from + 1).map(({ id, name }) => ({
          object: "organization.project.service_account",
          id,
          name,
          role: "member",
          created_at: 1,
        }));
        return json({
          object: "list",
          data: page,
          first_id: page[0]?.id ?? null,
          last_id: page[0]?.id ?? null,
          has_more: from + 1 < accounts.length,
        });
      }
      if (method === "GET" && path === `${base}/api_keys`) {
        const data = book.keys.map(({ id, name, value }) => ({
          object: "organization.project.api_key",
          redacted_value: `${value.slice(0, 8)}************${value.slice(-4)}`,
          name,
          created_at: 1,
          id,
        }));
        return json({ object: "list", data, first_id: "a", last_id: "b", has_more: false });
      }
      const id = path.split("/").pop() ?? "";
      if (method === "DELETE" && book.remove(id))
        return json({ object: "organization.project.service_account.deleted", id, deleted: true });
      return json({ error: { message: "not found", code: "not_found" } }, 404);
    },
  });
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

const IAM_OLD = { id: "AKIAOLD0000000000000", value: "CANARYOLDawsSecretAccessKey0000000000000" };

/** IAM and STS Query API: XML, version 2010-05-08 and 2011-06-15. The signature's key is what tells who asks. */
export function iamProvider(): KeyProvider {
  const xml = (text: string, status = 200): Answer => ({ status, headers: { "content-type": "text/xml" }, body: text });
  const failed = (code: string, status: number) =>
    xml(
      `<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type><Code>${code}</Code><Message>no</Message></Error><RequestId>r-1</RequestId></ErrorResponse>`,
      status,
    );
  return build({
    rotator: "aws-iam",
    hosts: ["iam.amazonaws.com", "sts.amazonaws.com"],
    credentialHosts: ["iam.amazonaws.com", "sts.amazonaws.com"],
    fields: { access_key_id: IAM_OLD.id, secret_access_key: IAM_OLD.value },
    admin: null,
    first: (book) => void book.add("", IAM_OLD.value, IAM_OLD.id),
    answer(request, book) {
      const id = /Credential=(AKIA[A-Z0-9]+)\//.exec(request.values("authorization")[0] ?? "")?.[1];
      const key = book.keys.find((each) => each.id === id);
      const ghost = id !== undefined && [...book.undead].length > 0 && key === undefined;
      if (!key && !ghost) return failed("InvalidClientTokenId", 403);
      const form = new URLSearchParams(request.body.toString());
      const target = form.get("AccessKeyId") ?? "";
      switch (form.get("Action")) {
        case "GetCallerIdentity":
          return xml(
            "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::1:user/bot</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>",
          );
        case "ListAccessKeys":
          return xml(
            `<ListAccessKeysResponse><ListAccessKeysResult><AccessKeyMetadata>${book.keys.map((each) => `<member><UserName>bot</UserName><AccessKeyId>${each.id}</AccessKeyId><Status>Active</Status><CreateDate>${new Date(each.createdAt).toISOString()}</CreateDate></member>`).join("")}</AccessKeyMetadata><IsTruncated>false</IsTruncated></ListAccessKeysResult></ListAccessKeysResponse>`,
          );
        case "CreateAccessKey": {
          if (book.keys.length >= 2) return failed("LimitExceeded", 409);
          const value = book.fresh("aws");
          const made = book.add("", value, `AKIANEW${value.slice(-13).toUpperCase()}`);
          return xml(
            `<CreateAccessKeyResponse><CreateAccessKeyResult><AccessKey><UserName>bot</UserName><AccessKeyId>${made.id}</AccessKeyId><Status>Active</Status><SecretAccessKey>${value}</SecretAccessKey></AccessKey></CreateAccessKeyResult></CreateAccessKeyResponse>`,
          );
        }
        case "GetAccessKeyLastUsed":
          return xml(
            "<GetAccessKeyLastUsedResponse><GetAccessKeyLastUsedResult><UserName>bot</UserName><AccessKeyLastUsed><Region>N/A</Region><ServiceName>N/A</ServiceName></AccessKeyLastUsed></GetAccessKeyLastUsedResult></GetAccessKeyLastUsedResponse>",
          );
        case "UpdateAccessKey":
          return book.keys.some((each) => each.id === target)
            ? xml("<UpdateAccessKeyResponse/>")
            : failed("NoSuchEntity", 404);
        case "DeleteAccessKey":
          return book.remove(target) ? xml("<DeleteAccessKeyResponse/>") : failed("NoSuchEntity", 404);
        default:
          return failed("InvalidAction", 400);
      }
    },
  });
}

const AZURE_OLD = "CANARYOLDazure000000000000000000";
const AZURE_TOKEN = "CANARY.entra.token-0123456789";
const AZURE_SETTINGS = { subscription: "00000000-0000-0000-0000-000000000001", resource_group: "rg", account: "acme" };

/** ARM accounts/listKeys and accounts/regenerateKey, with a token of Entra ID. */
export function azureProvider(): KeyProvider {
  const base = `/subscriptions/${AZURE_SETTINGS.subscription}/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/acme`;
  const tenant = "11111111-1111-1111-1111-111111111111";
  const slots = (book: KeyBook) => Object.fromEntries(book.keys.map(({ id, value }) => [id, value]));
  return build({
    rotator: "azure-openai",
    hosts: ["management.azure.com", "login.microsoftonline.com", "acme.openai.azure.com"],
    credentialHosts: ["acme.openai.azure.com"],
    fields: { api_key: AZURE_OLD },
    admin: {
      provider: "azure-arm",
      fields: {
        tenant_id: tenant,
        client_id: "22222222-2222-2222-2222-222222222222",
        client_secret: "CANARYclientsecret~0123456789",
      },
    },
    settings: AZURE_SETTINGS,
    first: (book) => {
      book.add("", AZURE_OLD, "key1");
      book.add("", book.fresh("azure"), "key2");
    },
    answer(request, book) {
      const { method, target } = request;
      if (target === `/${tenant}/oauth2/v2.0/token`) {
        const form = new URLSearchParams(request.body.toString());
        const good =
          form.get("client_secret") === "CANARYclientsecret~0123456789" &&
          form.get("scope") === "https://management.azure.com/.default";
        return good
          ? json({ token_type: "Bearer", expires_in: 3599, access_token: AZURE_TOKEN })
          : json({ error: "invalid_client" }, 401);
      }
      if (target.startsWith("/openai/")) {
        const good = book.accepts(request.values("api-key")[0]);
        return good
          ? json({ data: [] })
          : json(
              {
                error: { code: "401", message: "Access denied due to invalid subscription key or wrong API endpoint." },
              },
              401,
            );
      }
      if (bearer(request) !== AZURE_TOKEN) return json({ error: { code: "AuthenticationFailed" } }, 401);
      if (method !== "POST" || !target.endsWith("?api-version=2023-05-01"))
        return json({ error: { code: "InvalidApiVersion" } }, 400);
      if (target.startsWith(`${base}/listKeys`)) return json(slots(book));
      if (!target.startsWith(`${base}/regenerateKey`)) return json({ error: { code: "ResourceNotFound" } }, 404);
      const slot = String(bodyOf(request).keyName).toLowerCase();
      book.remove(slot);
      book.add("", book.fresh("azure"), slot);
      return json(slots(book));
    },
  });
}

export const KEY_PROVIDERS: Readonly<Record<string, () => KeyProvider>> = {
  openai: openaiProvider,
  openrouter: openrouterProvider,
  xai: xaiProvider,
  perplexity: perplexityProvider,
  "aws-iam": iamProvider,
  "azure-openai": azureProvider,
};
