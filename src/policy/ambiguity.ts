import { compileGlob, type Glob } from "../providers/glob.ts";
import type { Route } from "./compile.ts";
import { globsOverlap } from "./glob-overlap.ts";
import { MAX_PROBLEMS } from "./problem.ts";
import { ruleRank, rulesOf } from "./rank.ts";

/** Two routes that would match one request equally well. */
export interface Ambiguity {
  readonly first: Route;
  readonly second: Route;
  /** Pattern of each that meets the other. */
  readonly patterns: readonly [string, string];
  readonly client: string;
}

interface Entry {
  readonly route: Route;
  readonly client: string;
  readonly methods: ReadonlySet<string> | null;
  readonly glob: Glob;
}

const ANY_PATH = compileGlob("/**");

/**
 * Finds the routes of one authority between which `decide` could not choose, one report per pair of routes.
 * Rules are grouped by client, rank and literal beginning first, because only those can tie.
 */
export function findAmbiguities(routes: readonly Route[]): Ambiguity[] {
  const groups = new Map<string, Entry[]>();
  for (const entry of routes.flatMap(entriesOf)) {
    const { client, methods, glob } = entry;
    const key = `${client} ${ruleRank(methods, glob)} ${glob.source.slice(0, glob.literalPrefixLength)}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [entry]);
    else group.push(entry);
  }
  const found = new Map<string, Ambiguity>();
  for (const group of groups.values()) compareAll(group, found);
  return [...found.values()];
}

function compareAll(group: readonly Entry[], found: Map<string, Ambiguity>): void {
  for (const [index, a] of group.entries()) {
    for (let other = index + 1; other < group.length; other++) {
      const b = group[other];
      if (b === undefined || a.route === b.route || !methodsOverlap(a, b) || !globsOverlap(a.glob, b.glob)) continue;
      if (found.size >= MAX_PROBLEMS) return;
      const patterns = [a.glob.source, b.glob.source] as const;
      const pair = `${a.route.id} ${b.route.id}`;
      if (!found.has(pair)) found.set(pair, { first: a.route, second: b.route, patterns, client: a.client });
    }
  }
}

function entriesOf(route: Route): Entry[] {
  return rulesOf(route).flatMap(({ methods, paths }) => {
    return (paths ?? [ANY_PATH]).flatMap((glob) => {
      return [...route.clients].map((client): Entry => ({ route, client, methods, glob }));
    });
  });
}

function methodsOverlap(a: Entry, b: Entry): boolean {
  if (a.methods === null || b.methods === null) return true;
  return !a.methods.isDisjointFrom(b.methods);
}
