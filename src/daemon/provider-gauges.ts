import type { ProviderLimitGauge } from "./metrics.ts";
import type { ProviderView } from "./pipeline/provider-limits.ts";

/**
 * The providers' limits as metrics show them: of several scopes and versions of one credential the number that is
 * closest to its end, so that there are no more series than credentials and kinds.
 * @param nameOf the name of a credential by its id; undefined once it is gone
 */
export function providerGauges(
  views: Iterable<ProviderView>,
  nameOf: (credentialId: string) => string | undefined,
): ProviderLimitGauge[] {
  const gauges = new Map<string, { held: boolean; windows: Map<string, ProviderLimitGauge["windows"][number]> }>();
  for (const { credential, held, windows } of views) {
    // What all keys of a provider share has a name of its own.
    const name = nameOf(credential) ?? (credential.includes(":") ? credential : undefined);
    if (name === undefined) continue;
    const gauge = gauges.get(name) ?? { held: false, windows: new Map() };
    gauges.set(name, gauge);
    gauge.held ||= held !== null;
    for (const { kind, limit, remaining } of windows) {
      const before = gauge.windows.get(kind);
      if (before === undefined || share(remaining, limit) < share(before.remaining, before.limit)) {
        gauge.windows.set(kind, { kind, limit, remaining });
      }
    }
  }
  return [...gauges].map(([credential, { held, windows }]) => ({ credential, held, windows: [...windows.values()] }));
}

/** How much is left of a limit, 0 to 1; a number without a limit is compared as it is. */
function share(remaining: number | null, limit: number | null): number {
  if (remaining === null) return Number.POSITIVE_INFINITY;
  return limit === null || limit === 0 ? remaining : remaining / limit;
}
