import type { JsonBytes } from "../../../providers/json-bytes.ts";
import { ask, discard, eachPage, minted, readJson, refusal, segment, setting } from "./ask.ts";
import { type MintedKey, type Rotator, type RotatorContext, RotatorError } from "./rotator.ts";

const HOST = "api.x.ai";
const MANAGEMENT = "management-api.x.ai";
const ACL = /^[A-Za-z0-9:*_.-]{1,100}$/;

/**
 * Keys of an xAI team, made and deleted with a management key (docs.x.ai, Management API). A key tells its own id and
 * its access list, so the new one gets exactly the rights of the old one.
 */
export const xai: Rotator = {
  id: "xai",
  admin: "xai-management",
  selfService: false,
  settings: {
    team: { required: true, pattern: /^[A-Za-z0-9-]{1,64}$/, what: "the team's id" },
  },
  fields: ["api_key"],
  findsOrphans: true,
  async prepare(context) {
    const own = await describeOld(context);
    return { oldKey: own.id, memo: own.acls.join(" ") };
  },
  async create(context, memo, attempt) {
    if (attempt > 1) await removeOrphans(context);
    return createKey(context, (memo ?? "").split(" "));
  },
  async revoke({ admin }, keyId) {
    const path = `/auth/api-keys/${segment(keyId)}`;
    const answer = discard(await ask(admin, { host: MANAGEMENT, method: "DELETE", path }));
    if (answer.status !== 200 && answer.status !== 204 && answer.status !== 404) {
      throw refusal(admin, answer, "deleting the old key");
    }
  },
  async proveDead({ old }) {
    const answer = await ask(old, { host: HOST, method: "GET", path: "/v1/api-key" });
    const { status } = answer;
    // An unknown key may be answered with 400.
    const dead = status === 401 || (status === 400 && answer.body.includes("Incorrect API key"));
    discard(answer);
    return { dead, status };
  },
};

async function describeOld({ old }: RotatorContext): Promise<{ id: string | null; acls: string[] }> {
  const doing = "asking for the key's rights";
  const answer = await ask(old, { host: HOST, method: "GET", path: "/v1/api-key" });
  if (answer.status !== 200) throw refusal(old, discard(answer), doing);
  return readJson(answer, doing, (json) => {
    const acls = json.items("acls").flatMap((acl) => acl.text() ?? []);
    if (acls.length === 0 || !acls.every((acl) => ACL.test(acl))) {
      throw new RotatorError("retry", `${doing}: the answer has no usable access list`);
    }
    const id = json.text("api_key_id");
    return { id: id !== null && ACL.test(id) ? id : null, acls };
  });
}

async function createKey(context: RotatorContext, acls: readonly string[]): Promise<MintedKey> {
  const doing = "making a key";
  const answer = await ask(context.admin, {
    host: MANAGEMENT,
    method: "POST",
    path: keysOf(context),
    json: { name: context.token, acls },
  });
  if (answer.status !== 200 && answer.status !== 201) throw refusal(context.admin, discard(answer), doing);
  return readJson(answer, doing, (json) => minted("api_key", json.secret("apiKey"), json.text("apiKeyId"), doing));
}

async function removeOrphans(context: RotatorContext): Promise<void> {
  const orphans: string[] = [];
  await list(context, (key) => {
    const id = key.text("apiKeyId");
    if (id !== null && key.text("name") === context.token) orphans.push(id);
  });
  for (const orphan of orphans) await xai.revoke(context, orphan);
}

async function list(context: RotatorContext, each: (key: JsonBytes) => void): Promise<void> {
  const doing = "listing the team's keys";
  await eachPage(async (token) => {
    const page = token === null ? "" : `&paginationToken=${segment(token)}`;
    const path = `${keysOf(context)}?pageSize=100${page}`;
    const answer = await ask(context.admin, { host: MANAGEMENT, method: "GET", path });
    if (answer.status !== 200) throw refusal(context.admin, discard(answer), doing);
    return readJson(answer, doing, (json) => {
      for (const key of json.items("apiKeys")) each(key);
      return json.text("paginationToken") || null;
    });
  });
}

function keysOf({ settings }: RotatorContext): string {
  return `/auth/teams/${segment(setting(settings, "team"))}/api-keys`;
}
