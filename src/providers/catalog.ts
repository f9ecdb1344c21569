import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Provider, ProviderFileError, parseProvider } from "./schema.ts";
import { MAX_YAML_BYTES } from "./yaml-document.ts";

/** More files than this in the directory is a mistake, not a catalog. */
const MAX_PROVIDER_FILES = 1000;

export interface Catalog {
  readonly providers: ReadonlyMap<string, Provider>;
  /** All files, each after its name, in the order of names: the same text means the same catalog. */
  readonly sourceText: string;
}

/** Every problem of every file in the directory. */
export class CatalogError extends Error {
  readonly problems: readonly ProviderFileError[];

  constructor(problems: readonly ProviderFileError[]) {
    super(problems.map((problem) => problem.message).join("\n"));
    this.name = "CatalogError";
    this.problems = problems;
  }
}

/**
 * Reads all `*.yaml` of `dir`; other files are ignored.
 * @throws CatalogError with every bad file, and when the directory cannot be read or holds no provider.
 */
export function loadCatalog(dir: string): Catalog {
  const providers = new Map<string, Provider>();
  const problems: ProviderFileError[] = [];
  const sources: string[] = [];
  for (const name of providerFiles(dir)) {
    const file = join(dir, name);
    try {
      const text = readBounded(file);
      const provider = parseProvider(text, file);
      providers.set(provider.id, provider);
      sources.push(`# ${name}\n${text}\n`);
    } catch (error) {
      problems.push(error instanceof ProviderFileError ? error : unreadable(file, error));
    }
  }
  if (problems.length > 0) throw new CatalogError(problems);
  return Object.freeze({ providers, sourceText: sources.join("") });
}

function providerFiles(dir: string): string[] {
  const names = listed(dir).filter((name) => name.endsWith(".yaml") && !name.startsWith("."));
  if (names.length === 0) throw problem(dir, "has no *.yaml file; point `providers` at the provider directory");
  if (names.length > MAX_PROVIDER_FILES) throw problem(dir, `has more than ${MAX_PROVIDER_FILES} files`);
  // By code unit, so that the order does not depend on the machine's locale.
  return names.sort((a, b) => (a < b ? -1 : 1));
}

function listed(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch (error) {
    throw new CatalogError([unreadable(dir, error)]);
  }
}

/** The size is looked at before reading: a huge file must not be read to be refused. */
function readBounded(file: string): string {
  const { size } = statSync(file);
  if (size > MAX_YAML_BYTES) {
    throw new ProviderFileError(file, [
      { line: 1, problem: `larger than ${MAX_YAML_BYTES} bytes; a provider file is small` },
    ]);
  }
  return readFileSync(file, "utf8");
}

function problem(file: string, text: string): CatalogError {
  return new CatalogError([new ProviderFileError(file, [{ line: 1, problem: text }])]);
}

function unreadable(file: string, error: unknown): ProviderFileError {
  const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
  return new ProviderFileError(file, [{ line: 1, problem: `cannot be read (${code}); check its path and mode` }]);
}
