import { Secret } from "../../../secret.ts";
import { signAwsRequest } from "../../../store/sigv4.ts";
import type { ProviderAnswer } from "../provider-call.ts";
import { ask, discard, isPlausible, type KeyHolder, refusal, retryAfter } from "./ask.ts";
import { IamAnswer } from "./iam-answer.ts";
import { type MintedKey, type Rotator, type RotatorContext, RotatorError } from "./rotator.ts";

const IAM = "iam.amazonaws.com";
const STS = "sts.amazonaws.com";
/** IAM and the global STS endpoint are signed for this region. */
const REGION = "us-east-1";
const IAM_VERSION = "2010-05-08";
const STS_VERSION = "2011-06-15";
const FORM = "application/x-www-form-urlencoded; charset=utf-8";
const KEY_ID = /^A[A-Z0-9]{15,127}$/;
/** How far the provider's clock may be behind ours when a key is taken for one that we made, in ms. */
const CLOCK_SKEW_MS = 5 * 60_000;
/** IAM allows no user more access keys than this. */
const KEYS_PER_USER = 2;

/**
 * Access keys of one IAM user. They have no names, so the ids that were there before are written down: a key that is
 * there after a crash, is not one of them, is younger than the rotation and was never used, is ours.
 */
export const awsIam: Rotator = {
  id: "aws-iam",
  admin: "aws-iam",
  selfService: true,
  settings: {
    user: {
      required: false,
      pattern: /^[\w+=,.@-]{1,64}$/,
      what: "the IAM user's name; without it the key's own user",
    },
  },
  fields: ["access_key_id", "secret_access_key"],
  findsOrphans: true,
  async prepare(context) {
    const oldKey = keyIdOf(context.old);
    const ids = (await listKeys(context)).map(({ id }) => id);
    if (!ids.includes(oldKey)) {
      throw new RotatorError("permanent", "the stored access key is not one of this IAM user's; check --set user");
    }
    if (ids.length >= KEYS_PER_USER) throw limitReached(context);
    return { oldKey, memo: ids.join(" ") };
  },
  async create(context, memo, attempt) {
    if (attempt > 1) await removeOrphans(context, new Set((memo ?? "").split(" ")));
    return createKey(context);
  },
  async revoke(context, keyId) {
    for (const form of [{ Action: "UpdateAccessKey", Status: "Inactive" }, { Action: "DeleteAccessKey" }]) {
      const doing = "deleting the old access key";
      const answer = await iam(context, { ...form, ...userOf(context), AccessKeyId: keyId });
      const missing = answer.status === 404;
      if (answer.status !== 200 && !missing) throw iamRefusal(context.admin, answer, doing);
      discard(answer);
      if (missing) return;
    }
  },
  async proveDead({ old }) {
    const answer = await query(old, STS, { Action: "GetCallerIdentity", Version: STS_VERSION });
    const { status } = answer;
    const dead = status === 403 && new IamAnswer(answer.body).text("Code") === "InvalidClientTokenId";
    discard(answer);
    return { dead, status };
  },
};

interface ListedKey {
  readonly id: string;
  readonly createdAt: number;
}

async function listKeys(context: RotatorContext): Promise<ListedKey[]> {
  const doing = "listing the user's access keys";
  const answer = await iam(context, { Action: "ListAccessKeys", ...userOf(context) });
  if (answer.status !== 200) throw iamRefusal(context.admin, answer, doing);
  try {
    const keys = new IamAnswer(answer.body).members().map((member) => ({
      id: member.text("AccessKeyId") ?? "",
      createdAt: Date.parse(member.text("CreateDate") ?? ""),
    }));
    if (!keys.every(({ id }) => KEY_ID.test(id))) throw new RotatorError("retry", `${doing}: the answer is not a list`);
    return keys;
  } finally {
    discard(answer);
  }
}

async function createKey(context: RotatorContext): Promise<MintedKey> {
  const doing = "making an access key";
  const answer = await iam(context, { Action: "CreateAccessKey", ...userOf(context) });
  if (answer.status === 409) {
    const full = new IamAnswer(answer.body).text("Code") === "LimitExceeded";
    discard(answer);
    throw full ? limitReached(context) : refusal(context.admin, answer, doing);
  }
  if (answer.status !== 200) throw iamRefusal(context.admin, answer, doing);
  const read = new IamAnswer(answer.body);
  const keyId = read.text("AccessKeyId");
  const secret = read.secret("SecretAccessKey");
  discard(answer);
  const good = keyId !== null && KEY_ID.test(keyId) && keyId !== keyIdOf(context.old);
  if (secret === null || !good || !isPlausible(secret) || secret.use((bytes) => bytes.includes(keyId))) {
    secret?.wipe();
    throw new RotatorError("retry", `${doing}: the answer has no usable access key`);
  }
  const id = Secret.copyOf(Buffer.from(keyId));
  return {
    fields: new Map([
      ["access_key_id", id],
      ["secret_access_key", secret],
    ]),
    keyId,
  };
}

async function removeOrphans(context: RotatorContext, before: ReadonlySet<string>): Promise<void> {
  for (const { id, createdAt } of await listKeys(context)) {
    if (before.has(id)) continue;
    if (!(createdAt >= context.startedAt - CLOCK_SKEW_MS) || (await wasUsed(context, id))) continue;
    await awsIam.revoke(context, id);
  }
}

async function wasUsed(context: RotatorContext, id: string): Promise<boolean> {
  const doing = "asking when an access key was last used";
  const answer = await iam(context, { Action: "GetAccessKeyLastUsed", AccessKeyId: id });
  if (answer.status !== 200) throw iamRefusal(context.admin, answer, doing);
  const used = new IamAnswer(answer.body).text("LastUsedDate");
  discard(answer);
  return used !== null;
}

function limitReached(context: RotatorContext): RotatorError {
  const user = context.settings.user ?? "the key's user";
  const message = `IAM user ${user} has ${KEYS_PER_USER} access keys, which is the most that IAM allows; delete the one that is not in use, then rotate again`;
  return new RotatorError("permanent", message, { refused: true });
}

/** IAM tells some temporary and some permanent problems by a code alone (IAM API Reference, "Common Errors"). */
function iamRefusal(holder: KeyHolder, answer: ProviderAnswer, doing: string): RotatorError {
  const code = new IamAnswer(answer.body).text("Code");
  discard(answer);
  if (code === "Throttling" || code === "RequestExpired") {
    const retryAfterMs = retryAfter(answer, holder.now());
    const message = `${doing}: IAM answered ${code}; a wrong clock does that too`;
    return new RotatorError("retry", message, { retryAfterMs, refused: true });
  }
  if (code === "InvalidClientTokenId" || code === "SignatureDoesNotMatch") {
    return refusal(holder, { ...answer, status: 401 }, doing);
  }
  return refusal(holder, answer, doing);
}

type Form = Readonly<Record<string, string>>;

function userOf({ settings }: RotatorContext): Form {
  return settings.user === undefined ? {} : { UserName: settings.user };
}

function iam({ admin }: RotatorContext, form: Form): Promise<ProviderAnswer> {
  return query(admin, IAM, { ...form, Version: IAM_VERSION });
}

function query(holder: KeyHolder, host: string, form: Form): Promise<ProviderAnswer> {
  const bytes = Buffer.from(new URLSearchParams(form).toString());
  const secretKey = holder.fields.get("secret_access_key");
  if (secretKey === undefined) {
    throw new RotatorError(
      "permanent",
      `credential "${holder.name}" has no secret_access_key; it must be of provider aws-iam`,
    );
  }
  const fields: [string, string][] = signAwsRequest(
    { method: "POST", host, path: "/", fields: [["content-type", FORM]], body: bytes },
    { accessKeyId: keyIdOf(holder), secretKey, sessionToken: null },
    { service: host.split(".")[0] ?? "", region: REGION, nowMs: holder.now() },
  );
  return ask(holder, { host, method: "POST", path: "/", body: { type: FORM, bytes }, fields });
}

/** No secret: it stands in every request, in logs of AWS and in this audit log. */
function keyIdOf(holder: KeyHolder): string {
  const id = holder.fields.get("access_key_id")?.use((bytes) => bytes.toString("latin1")) ?? "";
  if (KEY_ID.test(id)) return id;
  throw new RotatorError(
    "permanent",
    `credential "${holder.name}" has no access key id; it must be of provider aws-iam`,
  );
}
