import type { Glob } from "../providers/glob.ts";
import type { AllowRule, Route } from "./compile.ts";

/** What a rule without `paths`, or a route without `allow`, is compared as. */
const ANY_PATH_PREFIX = 1;

/**
 * How narrowly one rule names a request: the longer literal beginning of its path pattern counts first, then a
 * pattern without wildcards, then named methods. Only compared between rules that match the same request.
 */
export function ruleRank(methods: ReadonlySet<string> | null, glob: Glob | null): number {
  const prefix = glob === null ? ANY_PATH_PREFIX : glob.literalPrefixLength;
  const exact = glob !== null && glob.literalPrefixLength === glob.source.length;
  return (prefix * 2 + (exact ? 1 : 0)) * 2 + (methods === null ? 0 : 1);
}

const EVERYTHING: readonly AllowRule[] = [{ methods: null, paths: null }];

/** The rules of a route; one that covers everything when it has none. */
export function rulesOf(route: Route): readonly AllowRule[] {
  return route.allow.length === 0 ? EVERYTHING : route.allow;
}

/** Rank of the narrowest rule of `route` that allows the request; -1 when none does. */
export function routeRank(route: Route, method: string, path: string): number {
  let best = -1;
  for (const { methods, paths } of rulesOf(route)) {
    if (methods !== null && !methods.has(method)) continue;
    if (paths === null) best = Math.max(best, ruleRank(methods, null));
    else for (const glob of paths) if (glob.matches(path)) best = Math.max(best, ruleRank(methods, glob));
  }
  return best;
}

/** Whether any rule of `route` covers the path, whatever the method. */
export function coversPath(route: Route, path: string): boolean {
  return rulesOf(route).some(({ paths }) => paths === null || paths.some((glob) => glob.matches(path)));
}

/** Whether any rule of `route` narrows paths, so that another reading of the path could lead elsewhere. */
export function restrictsPaths(route: Route): boolean {
  return route.allow.some(({ paths }) => paths !== null);
}
