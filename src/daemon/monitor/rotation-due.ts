import type { Provider } from "../../providers/schema.ts";
import type { Credential } from "../../store/credentials.ts";
import { listRotationPolicies, maxAgeOf, NO_ROTATION_POLICY, rotationDueAt } from "../../store/rotation-policies.ts";
import type { Vault } from "../../store/vault.ts";
import type { RotationAlerts } from "./rotation.ts";

const DAY_MS = 86_400_000;
/** Days before the due date at which something is said. */
const NOTICE_DAYS = [30, 14, 7, 1] as const;
export const ROTATION_DUE = "rotation_due";

/** The greatest age that a provider's file names, in milliseconds. */
export function providerMaxAgeMs(provider: Provider | undefined): number | null {
  return provider?.rotation?.maxAge ?? null;
}

/**
 * Which notice a due date calls for now: the days that were announced, 0 once it is overdue, null while it is far off.
 * A key that may only live for 20 days is not announced 14 days before: notices begin in the second half of its life.
 */
export function dueNotice(dueAt: number, maxAgeMs: number, nowMs: number): number | null {
  if (nowMs >= dueAt) return 0;
  const left = dueAt - nowMs;
  const reached = NOTICE_DAYS.filter((days) => days * DAY_MS <= maxAgeMs / 2 && left <= days * DAY_MS);
  return reached.at(-1) ?? (left <= DAY_MS ? 1 : null);
}

export interface DueOptions {
  readonly vault: Vault;
  readonly view: { list(): readonly Credential[] };
  readonly provider: (id: string) => Provider | undefined;
  readonly alerts: RotationAlerts;
  readonly now: () => number;
}

/** Raises and clears the alert of each credential whose rotation is due; one notice each time the next one is reached. */
export class DueNotices {
  readonly #options: DueOptions;
  readonly #said = new Map<string, number | null>();

  constructor(options: DueOptions) {
    this.#options = options;
  }

  check(): void {
    const { vault, view, provider, now } = this.#options;
    const policies = vault.read(listRotationPolicies);
    const nowMs = now();
    const there = new Set<string>();
    for (const credential of view.list()) {
      const ofProvider = providerMaxAgeMs(provider(credential.provider));
      const policy = policies.get(credential.id) ?? NO_ROTATION_POLICY;
      const dueAt = credential.state === "enabled" ? rotationDueAt(credential, policy, ofProvider) : null;
      const notice = dueAt === null ? null : dueNotice(dueAt, maxAgeOf(policy, ofProvider) ?? 0, nowMs);
      there.add(credential.name);
      this.#say(credential.name, notice, dueAt ?? 0);
    }
    for (const name of this.#said.keys()) if (!there.has(name)) this.#say(name, null, 0);
  }

  #say(name: string, notice: number | null, dueAt: number): void {
    if (this.#said.has(name) && this.#said.get(name) === notice) return;
    const { alerts } = this.#options;
    this.#said.set(name, notice);
    if (notice === null) {
      alerts.clear(ROTATION_DUE, `credential:${name}`);
      return;
    }
    const date = new Date(dueAt).toISOString().slice(0, 10);
    const when = notice === 0 ? `has been due since ${date}` : `is due on ${date}`;
    const severity = notice === 0 ? "critical" : notice <= 7 ? "warning" : "info";
    const message = `its rotation ${when}; make a new key and run \`sidekey credential rotate ${name}\``;
    alerts.raise(ROTATION_DUE, `credential:${name}`, severity, message);
  }
}
