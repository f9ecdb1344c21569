import type { JsonBytes } from "../../../providers/json-bytes.ts";
import { ask, discard, eachPage, minted, readJson, refusal, segment, setting } from "./ask.ts";
import type { MintedKey, Rotator, RotatorContext } from "./rotator.ts";

const HOST = "api.openai.com";
const OWN = "service_account/";
const OTHER = "api_key/";

/**
 * Keys of OpenAI: each one belongs to a service account of its own in one project, made and deleted with an admin key
 * (platform.openai.com/docs/api-reference/project-service-accounts). Deleting the account ends its key.
 */
export const openai: Rotator = {
  id: "openai",
  admin: "openai-admin",
  selfService: false,
  settings: {
    project: { required: true, pattern: /^proj_[A-Za-z0-9_-]{1,100}$/, what: "the project's id, like proj_abc" },
  },
  fields: ["api_key"],
  findsOrphans: true,
  async prepare(context) {
    return { oldKey: await findOldKey(context), memo: null };
  },
  async create(context, _memo, attempt) {
    if (attempt > 1) await removeOrphans(context);
    return createAccount(context);
  },
  async revoke(context, keyId) {
    const path = keyId.startsWith(OTHER)
      ? `${project(context)}/api_keys/${segment(keyId.slice(OTHER.length))}`
      : `${project(context)}/service_accounts/${segment(keyId.slice(OWN.length))}`;
    const answer = discard(await ask(context.admin, { host: HOST, method: "DELETE", path }));
    if (answer.status !== 200 && answer.status !== 404) throw refusal(context.admin, answer, "ending the old key");
  },
  async proveDead({ old }) {
    const host = [...old.hosts].find((each) => each.endsWith("openai.com:443"))?.replace(/:443$/, "") ?? HOST;
    const answer = await ask(old, { host, method: "GET", path: "/v1/models" });
    // A key without the scope for this call is alive and refused with the same status.
    const dead = answer.status === 401 && !answer.body.includes("Missing scopes");
    discard(answer);
    return { dead, status: answer.status };
  },
};

function project({ settings }: RotatorContext): string {
  return `/v1/organization/projects/${segment(setting(settings, "project"))}`;
}

async function createAccount(context: RotatorContext): Promise<MintedKey> {
  const doing = "making a service account";
  const answer = await ask(context.admin, {
    host: HOST,
    method: "POST",
    path: `${project(context)}/service_accounts`,
    json: { name: context.token },
  });
  if (answer.status !== 200 && answer.status !== 201) throw refusal(context.admin, discard(answer), doing);
  return readJson(answer, doing, (json) => {
    const id = json.text("id");
    return minted("api_key", json.secret("api_key", "value"), id === null ? null : `${OWN}${id}`, doing);
  });
}

async function removeOrphans(context: RotatorContext): Promise<void> {
  const orphans: string[] = [];
  await list(context, "service_accounts", (account) => {
    const id = account.text("id");
    if (id !== null && account.text("name") === context.token) orphans.push(`${OWN}${id}`);
  });
  for (const orphan of orphans) await openai.revoke(context, orphan);
}

/** The project's key whose redacted form fits the stored one; null when none or several do. */
async function findOldKey(context: RotatorContext): Promise<string | null> {
  const secret = context.old.fields.get("api_key");
  const found: string[] = [];
  await list(context, "api_keys", (key) => {
    const id = key.text("id");
    const redacted = key.text("redacted_value");
    if (id !== null && redacted !== null && secret?.use((bytes) => fitsRedacted(bytes, redacted))) found.push(id);
  });
  return found.length === 1 ? `${OTHER}${found[0]}` : null;
}

/** `sk-abc...wxyz` or `sk-abc****wxyz`: both ends must be there and say enough. */
function fitsRedacted(bytes: Buffer, redacted: string): boolean {
  const parts = /^([A-Za-z0-9_-]*)[.*]{2,}([A-Za-z0-9_-]{3,})$/.exec(redacted);
  if (parts === null) return false;
  const [, start = "", end = ""] = parts;
  if (start.length + end.length >= bytes.length) return false;
  return (
    bytes.subarray(0, start.length).equals(Buffer.from(start)) && bytes.subarray(-end.length).equals(Buffer.from(end))
  );
}

async function list(context: RotatorContext, what: string, each: (item: JsonBytes) => void): Promise<void> {
  const doing = `listing the project's ${what.replace("_", " ")}`;
  await eachPage(async (after) => {
    const page = after === null ? "" : `&after=${segment(after)}`;
    const path = `${project(context)}/${what}?limit=100${page}`;
    const answer = await ask(context.admin, { host: HOST, method: "GET", path });
    if (answer.status !== 200) throw refusal(context.admin, discard(answer), doing);
    return readJson(answer, doing, (json) => {
      for (const item of json.items("data")) each(item);
      return json.isTrue("has_more") ? json.text("last_id") : null;
    });
  });
}
