import type { Secret } from "../../../secret.ts";
import { ask, discard, isPlausible, readJson, refusal, segment, setting } from "./ask.ts";
import { type MintedKey, type Rotator, type RotatorContext, RotatorError } from "./rotator.ts";

const HOST = "management.azure.com";
const API_VERSION = "2023-05-01";
const SLOTS = ["key1", "key2"] as const;
type Slot = (typeof SLOTS)[number];

/**
 * The two keys of an Azure AI resource. A new key is the other one, regenerated; the old one ends when it is
 * regenerated too (learn.microsoft.com/rest/api/cognitiveservices, Accounts - Regenerate Key). Which slot holds which
 * value is asked before every change, so the key in use is never regenerated.
 */
export const azureOpenai: Rotator = {
  id: "azure-openai",
  admin: "azure-arm",
  selfService: false,
  settings: {
    subscription: { required: true, pattern: /^[0-9a-fA-F-]{36}$/, what: "the subscription's id" },
    resource_group: { required: true, pattern: /^[A-Za-z0-9_().-]{1,90}$/, what: "the name of the resource group" },
    account: { required: true, pattern: /^[A-Za-z0-9-]{2,64}$/, what: "the name of the Azure OpenAI resource" },
  },
  fields: ["api_key"],
  findsOrphans: true,
  async prepare(context) {
    const oldKey = await slotOf(context);
    if (oldKey === null) {
      throw new RotatorError(
        "permanent",
        `credential "${context.old.name}" is neither key 1 nor key 2 of the resource; check --set account, or store one of the two`,
      );
    }
    return { oldKey, memo: other(oldKey) };
  },
  async create(context, memo) {
    const slot = SLOTS.find((each) => each === memo);
    // After a crash the slots are asked again: the answer may have been lost, but the slot never holds the key in use.
    if (slot === undefined || (await slotOf(context)) === slot) {
      throw new RotatorError("permanent", "the keys of the resource were changed meanwhile; start the rotation again");
    }
    return regenerate(context, slot);
  },
  async revoke(context, keyId) {
    const slot = await slotOf(context);
    // Neither slot holds the value any more: it was regenerated already.
    if (slot === null) return;
    if (slot !== keyId) {
      throw new RotatorError(
        "permanent",
        `the old key is now ${slot} of the resource, not ${keyId}; regenerate it in the portal`,
      );
    }
    const { fields } = await regenerate(context, slot);
    for (const secret of fields.values()) secret.wipe();
  },
  async proveDead({ old }) {
    const host = [...old.hosts].find((each) => !each.startsWith("*"))?.replace(/:443$/, "") ?? "";
    const path = "/openai/deployments?api-version=2023-03-15-preview";
    const { status } = discard(await ask(old, { host, method: "GET", path }));
    return { dead: status === 401, status };
  },
};

function other(slot: Slot): Slot {
  return slot === "key1" ? "key2" : "key1";
}

/** The slot that holds the old value now. */
async function slotOf(context: RotatorContext): Promise<Slot | null> {
  const doing = "listing the resource's keys";
  if (!context.old.fields.has("api_key")) {
    throw new RotatorError("permanent", `${doing}: the old value cannot be read any more; regenerate it in the portal`);
  }
  const answer = await ask(context.admin, { host: HOST, method: "POST", path: account(context, "listKeys"), json: {} });
  if (answer.status !== 200) throw refusal(context.admin, discard(answer), doing);
  return readJson(answer, doing, (json) => {
    const found = SLOTS.map((slot) => ({ slot, value: json.secret(slot) }));
    try {
      const complete = found.every(({ value }) => value !== null && isPlausible(value));
      if (!complete) throw new RotatorError("retry", `${doing}: the answer has not both keys`);
      return found.find(({ value }) => value !== null && same(value, context.old.fields.get("api_key")))?.slot ?? null;
    } finally {
      for (const { value } of found) value?.wipe();
    }
  });
}

async function regenerate(context: RotatorContext, slot: Slot): Promise<MintedKey> {
  const doing = `regenerating ${slot}`;
  const json = { keyName: slot === "key1" ? "Key1" : "Key2" };
  const path = account(context, "regenerateKey");
  const answer = await ask(context.admin, { host: HOST, method: "POST", path, json });
  if (answer.status !== 200) throw refusal(context.admin, discard(answer), doing);
  const value = readJson(answer, doing, (read) => read.secret(slot));
  if (value === null || !isPlausible(value) || same(value, context.old.fields.get("api_key"))) {
    value?.wipe();
    throw new RotatorError("retry", `${doing}: the answer has no new key`);
  }
  return { fields: new Map([["api_key", value]]), keyId: slot };
}

function same(one: Secret, another: Secret | undefined): boolean {
  return another !== undefined && one.use((a) => another.use((b) => a.equals(b)));
}

function account({ settings }: RotatorContext, action: string): string {
  const group = segment(setting(settings, "resource_group"));
  const name = segment(setting(settings, "account"));
  const place = `resourceGroups/${group}/providers/Microsoft.CognitiveServices/accounts/${name}`;
  return `/subscriptions/${segment(setting(settings, "subscription"))}/${place}/${action}?api-version=${API_VERSION}`;
}
