import type { JsonBytes } from "../../../providers/json-bytes.ts";
import { ask, discard, eachPage, minted, readJson, refusal, segment } from "./ask.ts";
import type { MintedKey, Rotator, RotatorContext } from "./rotator.ts";

const HOST = "openrouter.ai";
const KEYS = "/api/v1/keys";
/** Keys on one page of the list (openrouter.ai/docs/features/provisioning-api-keys). */
const PAGE = 100;

/** Keys of OpenRouter, made and deleted with a provisioning key, which can do nothing else. A key is named by its hash. */
export const openrouter: Rotator = {
  id: "openrouter",
  admin: "openrouter-provisioning",
  selfService: false,
  settings: {
    limit: { required: false, pattern: /^\d{1,7}(?:\.\d{1,2})?$/, what: "the new key's credit limit in dollars" },
  },
  fields: ["api_key"],
  findsOrphans: true,
  async prepare(context) {
    return { oldKey: await findOldKey(context), memo: null };
  },
  async create(context, _memo, attempt) {
    if (attempt > 1) await removeOrphans(context);
    return createKey(context);
  },
  async revoke({ admin }, keyId) {
    const answer = discard(await ask(admin, { host: HOST, method: "DELETE", path: `${KEYS}/${segment(keyId)}` }));
    if (answer.status !== 200 && answer.status !== 204 && answer.status !== 404) {
      throw refusal(admin, answer, "deleting the old key");
    }
  },
  async proveDead({ old }) {
    const { status } = discard(await ask(old, { host: HOST, method: "GET", path: "/api/v1/key" }));
    return { dead: status === 401, status };
  },
};

async function createKey({ admin, token, settings }: RotatorContext): Promise<MintedKey> {
  const doing = "making a key";
  const limit = settings.limit === undefined ? {} : { limit: Number(settings.limit) };
  const answer = await ask(admin, { host: HOST, method: "POST", path: KEYS, json: { name: token, ...limit } });
  if (answer.status !== 200 && answer.status !== 201) throw refusal(admin, discard(answer), doing);
  return readJson(answer, doing, (json) => minted("api_key", json.secret("key"), json.text("data", "hash"), doing));
}

async function removeOrphans(context: RotatorContext): Promise<void> {
  const orphans: string[] = [];
  await list(context, (key) => {
    const hash = key.text("hash");
    if (hash !== null && key.text("name") === context.token) orphans.push(hash);
  });
  for (const orphan of orphans) await openrouter.revoke(context, orphan);
}

/** A key tells its own label, and the list tells the label of each; null unless exactly one fits. */
async function findOldKey(context: RotatorContext): Promise<string | null> {
  const answer = await ask(context.old, { host: HOST, method: "GET", path: "/api/v1/key" });
  if (answer.status !== 200) {
    discard(answer);
    return null;
  }
  const label = readJson(answer, "asking for the key's label", (json) => json.text("data", "label"));
  const found: string[] = [];
  await list(context, (key) => {
    const hash = key.text("hash");
    if (hash !== null && label !== null && key.text("label") === label) found.push(hash);
  });
  return found.length === 1 ? (found[0] ?? null) : null;
}

async function list({ admin }: RotatorContext, each: (key: JsonBytes) => void): Promise<void> {
  const doing = "listing the keys";
  await eachPage(async (offset) => {
    const path = offset === null ? KEYS : `${KEYS}?offset=${offset}`;
    const answer = await ask(admin, { host: HOST, method: "GET", path });
    if (answer.status !== 200) throw refusal(admin, discard(answer), doing);
    return readJson(answer, doing, (json) => {
      const keys = json.items("data");
      for (const key of keys) each(key);
      return keys.length < PAGE ? null : String(Number(offset ?? 0) + keys.length);
    });
  });
}
