import { escapeJson } from "../../../providers/auth/body-json.ts";
import type { Secret } from "../../../secret.ts";
import { joinBytes } from "../../../store/join-bytes.ts";
import { ask, discard, minted, readJson, refusal } from "./ask.ts";
import { type MintedKey, type Rotator, type RotatorContext, RotatorError } from "./rotator.ts";

const HOST = "api.perplexity.ai";

/**
 * Keys of Perplexity: any live key makes its successor and ends another by its value
 * (docs.perplexity.ai/guides/api-key-management). There is no list, so a key whose answer was lost cannot be found
 * again; each attempt therefore has a name of its own that an operator can look for.
 */
export const perplexity: Rotator = {
  id: "perplexity",
  admin: null,
  selfService: true,
  settings: {},
  fields: ["api_key"],
  findsOrphans: false,
  async prepare() {
    return { oldKey: "by value", memo: null };
  },
  create: (context, _memo, attempt) => createKey(context, perplexityName(context.token, attempt)),
  async revoke({ admin, old }) {
    const secret = old.fields.get("api_key");
    if (secret === undefined) throw new RotatorError("permanent", "the old version has no api_key to end");
    const body = { type: "application/json", bytes: tokenBody(secret) };
    const answer = discard(await ask(admin, { host: HOST, method: "POST", path: "/revoke_auth_token", body }));
    // An unknown token: the proof that follows tells whether it is dead.
    if (answer.status === 400 || answer.status === 404) return;
    if (answer.status !== 200 && answer.status !== 204) throw refusal(admin, answer, "revoking the old key");
  },
  async proveDead({ old }) {
    // Without messages nothing is generated and nothing is paid: a live key is answered with 400 or 422.
    const question = { host: HOST, method: "POST", path: "/chat/completions", json: {} };
    const { status } = discard(await ask(old, question));
    return { dead: status === 401, status };
  },
};

/** What the key of one attempt is called. */
export function perplexityName(token: string, attempt: number): string {
  return attempt === 1 ? token : `${token}-${attempt}`;
}

async function createKey({ admin }: RotatorContext, name: string): Promise<MintedKey> {
  const doing = "making a key";
  const json = { token_name: name };
  const answer = await ask(admin, { host: HOST, method: "POST", path: "/generate_auth_token", json });
  if (answer.status !== 200 && answer.status !== 201) throw refusal(admin, discard(answer), doing);
  return readJson(answer, doing, (read) => minted("api_key", read.secret("auth_token"), name, doing));
}

/** `{"auth_token":"..."}` put together in bytes. */
function tokenBody(secret: Secret): Buffer {
  const escaped = secret.use(escapeJson);
  const body = joinBytes(['{"auth_token":"', escaped, '"}']);
  escaped.fill(0);
  return body;
}
