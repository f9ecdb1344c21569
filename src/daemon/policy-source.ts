import { basename } from "node:path";
import { compilePolicy, type KnownObjects, type PolicySnapshot } from "../policy/compile.ts";
import { type PolicyDocument, parsePolicy } from "../policy/parse.ts";
import { formatProblem, PolicyError } from "../policy/problem.ts";
import { type Catalog, CatalogError, loadCatalog } from "../providers/catalog.ts";
import type { Provider } from "../providers/schema.ts";
import { sha256 } from "../store/crypto.ts";
import { watchFiles } from "./file-watch.ts";
import { PolicyFileError, readPolicyFile } from "./policy-file.ts";

/** Hex digits of a revision: enough to tell policies apart in a log line. */
const REVISION_LENGTH = 12;

export interface PolicySourceOptions {
  readonly policyFile: string;
  readonly providersDir: string;
  /** What the vault holds at this moment. */
  readonly known: () => KnownObjects;
  /** Called after every reload, also one that changed nothing; not for the first load. */
  readonly onReload: (result: ReloadResult) => void;
  readonly pollMs?: number;
  readonly settleMs?: number;
}

export interface ReloadResult {
  readonly ok: boolean;
  /** Why it was asked for: `file`, or what `reload` was given. */
  readonly reason: string;
  /** The revision in force afterwards; the old one when the reload failed. */
  readonly revision: string;
  /** Whether another revision is in force now. */
  readonly changed: boolean;
  /** Each as `file:line path: what is wrong; what to do`. Empty when ok. */
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

/** Holds the one reference that every exchange reads its policy from. */
export interface PolicySource {
  current(): PolicySnapshot;
  /** The catalog that the snapshot in force was made with. */
  provider(id: string): Provider | undefined;
  /** Reads everything again; on any problem the snapshot in force stays (guarantee G10). Never rejects. */
  reload(reason: string): Promise<ReloadResult>;
  /** How the last load went. */
  health(): { readonly ok: boolean; readonly problems: readonly string[] };
  /** Warnings of the snapshot in force. */
  warnings(): readonly string[];
  close(): void;
}

interface Loaded {
  readonly catalog: Catalog;
  readonly snapshot: PolicySnapshot;
  readonly warnings: readonly string[];
}

/** Parsing thirty provider files takes a while; it is only done again when their text has changed. */
class Loader {
  readonly #options: PolicySourceOptions;
  #catalog: Catalog | null = null;
  #document: { readonly text: string; readonly parsed: PolicyDocument } | null = null;

  constructor(options: PolicySourceOptions) {
    this.#options = options;
  }

  /** @throws PolicyError, CatalogError or PolicyFileError */
  load(reason: string): Loaded {
    const { policyFile, providersDir, known } = this.#options;
    const text = readPolicyFile(policyFile);
    // A change in the vault leaves the files alone, and must not cost the event loop a catalog's parsing.
    const kept = reason === "vault" ? this.#catalog : null;
    this.#catalog = null;
    const catalog = kept ?? loadCatalog(providersDir);
    this.#catalog = catalog;
    const parsed = this.#document?.text === text ? this.#document.parsed : parsePolicy(text, basename(policyFile));
    const { snapshot, warnings } = compilePolicy(parsed, catalog, known(), revisionOf(text, catalog));
    this.#document = { text, parsed };
    return { catalog, snapshot, warnings: warnings.map((warning) => formatProblem(parsed.file, warning)) };
  }
}

function revisionOf(text: string, { sourceText }: Catalog): string {
  // The length keeps text from moving between the two without the revision noticing.
  const whole = `${Buffer.byteLength(text)}\n${text}${sourceText}`;
  return sha256(whole).toString("hex").slice(0, REVISION_LENGTH);
}

/**
 * Loads the policy and follows its files.
 * @throws PolicyError, CatalogError or PolicyFileError when the first load fails: without a policy nothing
 * may start
 */
export async function createPolicySource(options: PolicySourceOptions): Promise<PolicySource> {
  const loader = new Loader(options);
  let inForce = loader.load("start");
  let problems: readonly string[] = [];

  /** Without an await inside, so that two reloads cannot mix and an exchange sees the old or the new one. */
  function reload(reason: string): ReloadResult {
    const before = inForce.snapshot.revision;
    try {
      inForce = loader.load(reason);
      problems = [];
    } catch (error) {
      problems = problemsOf(error);
    }
    const { snapshot, warnings } = inForce;
    const ok = problems.length === 0;
    const { revision } = snapshot;
    return { ok, reason, revision, changed: revision !== before, problems, warnings };
  }

  function reloadAndTell(reason: string): ReloadResult {
    const result = reload(reason);
    options.onReload(result);
    return result;
  }

  const { policyFile: file, providersDir: directory, pollMs, settleMs } = options;
  const watching = watchFiles({
    file,
    directory,
    onChange: () => void reloadAndTell("file"),
    ...(pollMs === undefined ? {} : { pollMs }),
    ...(settleMs === undefined ? {} : { settleMs }),
  });
  return {
    current: () => inForce.snapshot,
    provider: (id) => inForce.catalog.providers.get(id),
    reload: async (reason) => reloadAndTell(reason),
    health: () => ({ ok: problems.length === 0, problems }),
    warnings: () => inForce.warnings,
    close: () => watching.close(),
  };
}

function problemsOf(error: unknown): readonly string[] {
  if (error instanceof PolicyError) return error.problems.map((problem) => formatProblem(error.file, problem));
  if (error instanceof CatalogError) return error.problems.map((problem) => problem.message);
  if (error instanceof PolicyFileError) return [error.message];
  // Not foreseen, so its text may hold anything; its kind is enough to look for it in the code.
  return [`internal: loading the policy failed (${error instanceof Error ? error.name : "unknown error"})`];
}
