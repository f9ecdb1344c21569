import type { RequestHead, UsageDialect } from "./usage.ts";

/** Marks operations of the other API, so that its answers are read by its rules. */
const MARK = "openai.";

/** A provider that answers in OpenAI's shape under some of its paths. */
export function withCompatible(
  own: UsageDialect,
  compatible: UsageDialect,
  isCompatible: (path: string) => boolean,
): UsageDialect {
  const chosen = ({ path }: RequestHead): UsageDialect => (isCompatible(path) ? compatible : own);
  return {
    needsBody: (head) => chosen(head).needsBody(head),
    readRequest: (head, body) => {
      const facts = chosen(head).readRequest(head, body);
      return isCompatible(head.path) ? { ...facts, operation: `${MARK}${facts.operation}` } : facts;
    },
    reader: (facts, answer) => {
      if (!facts.operation.startsWith(MARK)) return own.reader(facts, answer);
      return compatible.reader({ ...facts, operation: facts.operation.slice(MARK.length) }, answer);
    },
    askForUsage: compatible.askForUsage,
    hideAsked: compatible.hideAsked,
  };
}
