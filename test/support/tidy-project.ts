import type { SourceFile } from "./source-file.ts";
import type { Rule } from "./tidy-owners.ts";

// Put together here so that this file does not itself contain them.
const UNFINISHED = new RegExp(`\\b(?:${["TO" + "DO", "FIX" + "ME", "X" + "XX"].join("|")})\\b`);
const OUTSIDE_WORDS: readonly (readonly [words: RegExp, why: string])[] = [
  [new RegExp(["session", "prompt"].join("[ -]"), "i"), "says how it was written"],
  [new RegExp(["registry\\.", "npmjs"].join("")), "names a download host"],
  [new RegExp(["pypi\\.", "org"].join("")), "names a download host"],
  [new RegExp(["proxy\\.", "golang\\.org"].join("")), "names a download host"],
  [new RegExp(`(?<![\\w.$}*/-])/${"work"}/`), "names a folder of one machine"],
  [new RegExp(`(?<![\\w.$}*/-])/${"root"}/`), "names a folder of one machine"],
];

/** A product of one of the providers: its catalog files may name it, nothing else has a reason to. */
const PRODUCT = new RegExp(`\\b${["Cla", "ude"].join("")}\\b`);

export const nothingUnfinished: Rule = (files) => linesThat(files, (line) => UNFINISHED.test(line), "is unfinished");

/** URLs are left out: a provider's documentation may live under any name. */
export const nothingFromOutside: Rule = (files) => [
  ...OUTSIDE_WORDS.flatMap(([words, why]) =>
    linesThat(files, (line) => words.test(words.source.includes("\\.") ? line : withoutUrls(line)), why),
  ),
  ...linesThat(
    files.filter(({ path }) => !path.startsWith("config/providers/")),
    (line) => PRODUCT.test(withoutUrls(line)),
    "says how it was written",
  ),
];

function withoutUrls(line: string): string {
  return line.replace(/\bhttps?:\/\/\S+/g, "");
}

function linesThat(files: readonly SourceFile[], test: (line: string) => boolean, why: string): string[] {
  return files
    .filter(({ path }) => path !== "package-lock.json")
    .flatMap(({ path, text }) =>
      text.split("\n").flatMap((line, index) => (test(line) ? [`${path}:${index + 1} ${why}: ${line.trim()}`] : [])),
    );
}

interface PackageLists {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const EXACT_VERSION = /^\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?$/;

export const exactVersions: Rule = (files) => {
  const manifest = files.find(({ path }) => path === "package.json");
  if (!manifest) return ["package.json is missing"];
  const lists = JSON.parse(manifest.text) as PackageLists;
  return [lists.dependencies, lists.devDependencies, lists.optionalDependencies]
    .flatMap((list) => Object.entries(list ?? {}))
    .filter(([, version]) => !EXACT_VERSION.test(version))
    .map(([name, version]) => `package.json: ${name} is "${version}", not an exact version`);
};

/** The lockfile works with whichever download host the machine is set up for, and still pins every byte. */
export const portableLockfile: Rule = (files) => {
  const lock = files.find(({ path }) => path === "package-lock.json");
  if (!lock) return ["package-lock.json is missing"];
  const { packages } = JSON.parse(lock.text) as {
    packages: Record<string, { resolved?: string; integrity?: string; link?: boolean }>;
  };
  return Object.entries(packages)
    .filter(([name]) => name !== "")
    .flatMap(([name, { resolved, integrity, link }]) => [
      ...(resolved?.includes("//") ? [`package-lock.json: ${name} is bound to a download host`] : []),
      ...(integrity || link ? [] : [`package-lock.json: ${name} has no integrity hash`]),
    ]);
};

interface LockedPackage {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/**
 * `npm ci` refuses a lockfile that lacks a package which another one names, optional ones for other platforms included;
 * npm leaves such a package out silently when the lockfile is made where it cannot be had.
 */
export const completeLockfile: Rule = (files) => {
  const lock = files.find(({ path }) => path === "package-lock.json");
  if (!lock) return ["package-lock.json is missing"];
  const { packages } = JSON.parse(lock.text) as { packages: Record<string, LockedPackage> };
  const installed = new Set(Object.keys(packages).map((path) => path.replace(/^.*node_modules\//, "")));
  return Object.entries(packages).flatMap(([path, { dependencies, optionalDependencies }]) =>
    Object.keys({ ...dependencies, ...optionalDependencies })
      .filter((name) => !installed.has(name))
      .map(
        (name) => `package-lock.json: ${path || "package.json"} needs ${name}, which has no entry; npm ci refuses it`,
      ),
  );
};

/** A new runtime dependency needs a line in docs/adr. */
export const explainedDependencies: Rule = (files) => {
  const manifest = files.find(({ path }) => path === "package.json");
  const record = files.find(({ path }) => /^docs\/adr\/\d+-dependencies\.md$/.test(path));
  const names = Object.keys((JSON.parse(manifest?.text ?? "{}") as PackageLists).dependencies ?? {});
  return names
    .filter((name) => !record?.text.includes(`\`${name}\``))
    .map((name) => `${name} is a runtime dependency without a line in docs/adr/*-dependencies.md`);
};

const GUARANTEES = Array.from({ length: 16 }, (_, index) => `G${index + 1}`);
const NAMED_TEST = /`(test\/[^`]+)`([^`]*)/g;

/**
 * docs/SECURITY.md, once it exists, has a table row for every guarantee, and each row names tests that are there:
 * `| G3 one-decision | ... | \`test/policy/decide.test.ts\` "the test's name" "another" |`.
 */
export const provenGuarantees: Rule = (files) => {
  const page = files.find(({ path }) => path === "docs/SECURITY.md");
  if (!page) return [];
  const rows = page.text.split("\n").filter((line) => /^\|\s*\**G\d+\b/.test(line));
  const idOf = (row: string): string => /G\d+/.exec(row)?.[0] ?? "";
  const absent = GUARANTEES.filter((id) => !rows.some((row) => idOf(row) === id));
  return [
    ...absent.map((id) => `docs/SECURITY.md has no row for ${id}`),
    ...rows.flatMap((row) => rowProblems(row, files).map((problem) => `docs/SECURITY.md ${idOf(row)}: ${problem}`)),
  ];
};

function rowProblems(row: string, files: readonly SourceFile[]): string[] {
  const named = [...row.matchAll(NAMED_TEST)].map(([, path = "", rest = ""]) => ({
    path,
    titles: [...rest.matchAll(/"([^"]+)"/g)].map(([, title = ""]) => title),
  }));
  if (named.length === 0) return ["names no test file"];
  return named.flatMap(({ path, titles }) => {
    const file = files.find((one) => one.path === path);
    if (!file) return [`${path} does not exist`];
    if (titles.length === 0) return [`no quoted test name after ${path}`];
    return titles.filter((title) => !file.text.includes(title)).map((title) => `${path} has no test "${title}"`);
  });
}
