import { type LimitKind, limitKind } from "./limit-kind.ts";
import { type AnswerClock, type LimitFields, type LimitWindow, limitWindow } from "./limit-window.ts";
import { wholeNumber } from "./told-time.ts";

/*
 * `RateLimit` and `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers: lists since -08
 * (`"burst";r=50;t=30`), a dictionary in -07 (`limit=100, remaining=50, reset=30`). Read more loosely than Structured
 * Fields demand (RFC 9651), because what is sent is not always one: Hugging Face's policy is
 * `"fixed window";"api";q=500;w=300`.
 */

/** Longest field, most items and most parameters that are looked at. */
const MAX_TEXT = 2_048;
const MAX_ITEMS = 8;
const MAX_PARAMETERS = 8;

interface Item {
  readonly name: string;
  readonly parameters: ReadonlyMap<string, string>;
}

/** The windows of both fields together; empty when there is no `RateLimit`. */
export function rateLimitList({ field }: LimitFields, clock: AnswerClock): LimitWindow[] {
  const states = listItems(field("ratelimit"));
  const policies = listItems(field("ratelimit-policy"));
  if (states.some(({ name }) => name.includes("="))) return dictionary(states, policies, clock);
  return states.flatMap((state) => {
    // The only policy is meant whatever it is called.
    const policy =
      policies.find(({ name }) => name === state.name) ?? (policies.length === 1 ? policies[0] : undefined);
    const kind = kindOf(policy);
    const seconds = wholeNumber(state.parameters.get("t") ?? null);
    if (kind === null) return [];
    const told = {
      limit: wholeNumber(policy?.parameters.get("q") ?? null),
      remaining: wholeNumber(state.parameters.get("r") ?? null),
      reset: seconds === null ? null : { inMs: seconds * 1000 },
    };
    return limitWindow(kind, told, clock) ?? [];
  });
}

/** Quotas that count no requests (bytes, what is concurrent) are none of ours. */
function kindOf(policy: Item | undefined): LimitKind | null {
  const unit = policy?.parameters.get("qu") ?? "requests";
  const seconds = wholeNumber(policy?.parameters.get("w") ?? null);
  return unit === "requests" ? limitKind("requests", seconds === null ? null : seconds * 1000) : null;
}

function dictionary(states: readonly Item[], policies: readonly Item[], clock: AnswerClock): LimitWindow[] {
  const member = (name: string): number | null => {
    const item = states.find((each) => each.name.startsWith(`${name}=`));
    return wholeNumber(item?.name.slice(name.length + 1) ?? null);
  };
  const limit = member("limit");
  const seconds = member("reset");
  const policy = policies.find(({ name }) => wholeNumber(name) === limit);
  const told = { limit, remaining: member("remaining"), reset: seconds === null ? null : { inMs: seconds * 1000 } };
  return [limitWindow(kindOf(policy) ?? "requests", told, clock)].filter((window) => window !== null);
}

function listItems(text: string | null): Item[] {
  if (text === null || text.length > MAX_TEXT) return [];
  return split(text, ",", MAX_ITEMS).map((item) => {
    const [name = "", ...rest] = split(item, ";", MAX_PARAMETERS + 1);
    const parameters = rest.map((parameter) => {
      const at = parameter.indexOf("=");
      return at === -1
        ? ([parameter, ""] as const)
        : ([parameter.slice(0, at), bare(parameter.slice(at + 1))] as const);
    });
    return { name: bare(name), parameters: new Map(parameters) };
  });
}

/** Splits outside of quoted strings. */
function split(text: string, separator: string, most: number): string[] {
  const parts: string[] = [];
  let from = 0;
  let quoted = false;
  for (let at = 0; at < text.length && parts.length < most; at++) {
    if (quoted && text[at] === "\\") at++;
    else if (text[at] === '"') quoted = !quoted;
    else if (!quoted && text[at] === separator) {
      parts.push(text.slice(from, at).trim());
      from = at + 1;
    }
  }
  if (parts.length < most) parts.push(text.slice(from).trim());
  return parts.filter((part) => part !== "");
}

function bare(text: string): string {
  return text.length > 1 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text;
}
