import type { BudgetSpec, LimitSpec, Route } from "./compile.ts";
import type { Report } from "./compile-route.ts";
import { followsCredential } from "./limit.ts";

/** Refuses limits that share a counter but disagree about its size: neither number would then be true. */
export function checkSharedCounters(routes: readonly Route[], report: Report): void {
  const seen = new Map<string, { route: Route; spec: LimitSpec }>();
  for (const route of routes) {
    for (const [index, spec] of route.limits.entries()) {
      if (!followsCredential(spec)) continue;
      const conflict = sharedKeys(spec, route).map((key) => {
        const first = seen.get(key);
        if (first === undefined) seen.set(key, { route, spec });
        return first;
      });
      const other = conflict.find((first) => first !== undefined && !sameSize(first.spec, spec));
      if (other === undefined) continue;
      report.error(
        ["routes", route.id, "limits", index],
        `counts together with limit ${spec.name} of route ${other.route.id}, which has other numbers or settings; ` +
          "write the same, rename one, or add route to per",
      );
    }
  }
}

function sharedKeys(spec: LimitSpec, route: Route): string[] {
  const base = [spec.kind, spec.name, spec.per, route.provider.id];
  if (!spec.per.includes("credential")) return [JSON.stringify(base)];
  const { use, owner, else: fallback } = route.credentials;
  const names = [...use.map(({ name }) => name), ...(fallback === null ? [] : [fallback])];
  return [...names.map((name) => JSON.stringify([...base, name])), ...(owner === null ? [] : [JSON.stringify(base)])];
}

function sameSize(a: LimitSpec, b: LimitSpec): boolean {
  const sameNumbers = a.count === b.count && a.periodMs === b.periodMs && a.burst === b.burst && a.mode === b.mode;
  return sameNumbers && sameBudget(a.budget, b.budget);
}

/** A budget that one route keeps strictly and another does not is not kept strictly; so with all that it promises. */
function sameBudget(a: BudgetSpec | null, b: BudgetSpec | null): boolean {
  if (a === null || b === null) return a === b;
  const sameCalendar = a.calendar?.unit === b.calendar?.unit && a.calendar?.zone === b.calendar?.zone;
  return sameCalendar && a.strict === b.strict && a.unpriced === b.unpriced && a.warn.join() === b.warn.join();
}
