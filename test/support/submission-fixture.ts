import { exportPublicKeys, parsePublicKeys, type SubmissionKey } from "../../src/store/public-keys.ts";
import {
  type OpenedSubmission,
  openSubmission,
  type SubmissionPlan,
  sealSubmission,
} from "../../src/store/submission.ts";
import { type AcceptAs, type Accepted, acceptSubmission } from "../../src/store/submission-accept.ts";
import { parseSubmission } from "../../src/store/submission-text.ts";
import type { Vault } from "../../src/store/vault.ts";
import { fields, START_MS } from "./vault-fixture.ts";

/** Like a real one of the catalog's `fmp`, which wants 32 letters and digits. */
export const FMP_KEY = "CANARYcanary0123456789abcdefABCD";

export function keyOf(vault: Vault, category = "market-data"): SubmissionKey {
  const key = parsePublicKeys(vault.read(exportPublicKeys)).keys.get(category);
  if (key === undefined) throw new Error(`no key of ${category}`);
  return key;
}

/** A sealed submission's text; `what` replaces parts of the plan. */
export function sealed(
  key: SubmissionKey,
  what: Partial<SubmissionPlan> = {},
  values: Record<string, string> = { api_key: FMP_KEY },
): string {
  const plan: SubmissionPlan = {
    provider: "fmp",
    name: "fmp-main",
    hosts: ["financialmodelingprep.com"],
    environment: "live",
    owner: { kind: "service" },
    expires: null,
    ...what,
  };
  return sealSubmission(key, plan, fields(values), START_MS).text;
}

export function opened(vault: Vault, text: string): OpenedSubmission {
  return vault.read((view) => openSubmission(view, parseSubmission(text)));
}

export function accepted(vault: Vault, text: string, as: AcceptAs = "current"): Accepted {
  const submission = parseSubmission(text);
  const what = opened(vault, text);
  return vault.write((transaction) => acceptSubmission(transaction, submission, what, { as, actor: "ana" }));
}
