import { type Answer, bearer, bodyOf, build, json, type KeyBook, type KeyProvider } from "./key-provider.ts";

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
