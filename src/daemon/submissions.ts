import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Catalog, loadCatalog } from "../providers/catalog.ts";
import { checkCode } from "../store/submission-text.ts";
import type { Vault } from "../store/vault.ts";
import type { Config } from "./config.ts";
import { watchFiles } from "./file-watch.ts";
import type { Log } from "./log.ts";
import type { AlertKind } from "./monitor/alert-kinds.ts";
import { applySubmission, problemText } from "./submission-apply.ts";
import { type ListedSubmission, readSubmissionList, SUBMISSION_LIST_FILE } from "./submission-list.ts";

/** Told of what somebody should look at. */
interface Alerts {
  raise(kind: AlertKind, object: string, severity: "info" | "warning" | "critical", message: string): void;
  clear(kind: AlertKind, object: string): void;
}

export interface SubmissionsOptions {
  readonly vault: Vault;
  readonly config: Pick<Config, "configDir" | "providersDir">;
  readonly log: Pick<Log, "info" | "warn" | "error">;
  readonly alerts?: Alerts;
  readonly pollMs?: number;
  readonly settleMs?: number;
  /** How soon something is tried again that only has to wait: for the vault, a category, the disk. */
  readonly retryMs?: number;
}

/** Accepts the sealed submissions that `credentials.yaml` lists, at start and whenever a file changes. */
export interface Submissions {
  /** Looks at the list now: for a reload, and once the vault or a category is unsealed. Never throws. */
  apply(): void;
  close(): void;
}

interface Problem {
  readonly source: string;
  readonly problem: string;
  readonly waits: boolean;
}

const ALERT = ["submission_refused", `file:${SUBMISSION_LIST_FILE}`] as const;
const RETRY_MS = 5000;

/** Applies the list once, before this returns, then follows it. */
export function followSubmissions(options: SubmissionsOptions): Submissions {
  const { vault, config, retryMs = RETRY_MS, pollMs, settleMs } = options;
  const path = join(config.configDir, SUBMISSION_LIST_FILE);
  const tell = teller(options);
  /** What the list named when it could last be read. */
  let files: readonly string[] = [];
  let retry: NodeJS.Timeout | null = null;

  function apply(): void {
    if (retry !== null) clearTimeout(retry);
    // While the vault is sealed nothing can be said of any submission, so nothing is.
    const problems = vault.sealed ? null : applyList();
    if (problems !== null) tell(problems);
    const again = problems === null || problems.some(({ waits }) => waits);
    retry = again ? setTimeout(apply, retryMs).unref() : null;
  }

  function applyList(): Problem[] {
    let list: readonly ListedSubmission[];
    try {
      list = existsSync(path) ? readSubmissionList(path) : [];
    } catch (error) {
      return [{ source: SUBMISSION_LIST_FILE, problem: problemText(error), waits: false }];
    }
    files = list.flatMap(({ file }) => file ?? []);
    return applyAll(list, options);
  }

  apply();
  const watching = watchFiles({
    file: path,
    also: () => files,
    onChange: apply,
    ...(pollMs === undefined ? {} : { pollMs }),
    ...(settleMs === undefined ? {} : { settleMs }),
  });
  return {
    apply,
    close: () => {
      watching.close();
      if (retry !== null) clearTimeout(retry);
    },
  };
}

/** One bad submission does not keep the others out. */
function applyAll(list: readonly ListedSubmission[], { vault, config, log }: SubmissionsOptions): Problem[] {
  let loaded: Catalog | null = null;
  const catalog = (): Catalog => {
    loaded ??= loadCatalog(config.providersDir);
    return loaded;
  };
  return list.flatMap((listed) => {
    const { source, as } = listed;
    const verdict = applySubmission(vault, listed, catalog);
    if (verdict.state === "refused" || verdict.state === "waits") {
      return { source, problem: verdict.problem, waits: verdict.state === "waits" };
    }
    if (verdict.state === "accepted") {
      const { credential, version, digest } = verdict;
      log.info("submission_accepted", { source, credential, version, as, code: checkCode(digest) });
    }
    return [];
  });
}

/** Says what is wrong when that has changed: each retry finds the same again. */
function teller({ log, alerts }: SubmissionsOptions): (problems: readonly Problem[]) => void {
  let told: string | null = null;
  return (problems) => {
    const text = problems.map(({ source, problem }) => `${source}: ${problem}`).join("\n");
    if (text === told) return;
    told = text;
    for (const { source, problem, waits } of problems) {
      if (waits) log.warn("submission_waits", { source, problem });
      else log.error("submission_refused", { source, problem });
    }
    // An alert from before a restart is no more true than one of a minute ago.
    alerts?.clear(...ALERT);
    const [first] = problems;
    if (first === undefined) return;
    const rest = problems.length === 1 ? "" : ` (and ${problems.length - 1} more; \`sidekey doctor\` names them)`;
    alerts?.raise(...ALERT, "warning", `${first.source}: ${first.problem}${rest}`);
  };
}
