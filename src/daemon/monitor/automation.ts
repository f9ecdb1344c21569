import type { Provider } from "../../providers/schema.ts";
import { type AutomaticPace, beginAutomaticRotation } from "../../store/automatic-start.ts";
import type { Credential } from "../../store/credentials.ts";
import { VaultError } from "../../store/errors.ts";
import { listRotationPolicies, type RotationPolicy, rotationDueAt } from "../../store/rotation-policies.ts";
import { isUnderWay, listRotations, type Rotation } from "../../store/rotations.ts";
import type { Vault } from "../../store/vault.ts";
import { nodeTimer, type SetTimer } from "../pipeline/clock.ts";
import type { Alerts } from "./alerts.ts";
import { AutomaticRotations } from "./automatic-rotation.ts";
import type { CallProvider } from "./provider-call.ts";
import { TokenSource } from "./refresh.ts";
import { providerMaxAgeMs } from "./rotation-due.ts";
import { washing } from "./wash.ts";

export interface AutomationParts {
  readonly vault: Vault;
  /** `refresh` makes the daemon notice a change of the vault now. */
  readonly view: { refresh(): void };
  readonly policy: { provider(id: string): Provider | undefined };
  readonly call: CallProvider;
  readonly alerts: Alerts;
  /** Told of what keeps a tick from its work; the next one tries again. */
  readonly onFailure: (error: unknown) => void;
  /** ms since the epoch; the system's clock unless given */
  readonly now?: () => number;
  /** In [0, 1); Math.random unless given. */
  readonly random?: () => number;
  readonly setTimer?: SetTimer;
}

export interface Automation {
  readonly accessTokens: TokenSource;
  /** Ends the ticking and forgets the tokens; a step that is under way goes on after a restart. */
  close(): void;
}

const TICK_MS = 1_000;
/** How often it is looked which keys have grown too old. */
const DUE_EVERY_MS = 60_000;
/** A rotation that failed is not begun again by itself before this, in ms. */
const AFTER_FAILURE_MS = 24 * 3_600_000;

/** How the traffic moves to a new key when the policy of a credential says nothing. */
const DEFAULT_PACE: AutomaticPace = { steps: [5, 25, 50, 100], stepMs: 600_000, graceMs: 24 * 3_600_000 };

/** Starts what sidekey does with keys at the providers by itself: access tokens, and new keys for old ones. */
export function startAutomation(parts: AutomationParts): Automation {
  const { vault, view, call, alerts, onFailure, now = Date.now, random = Math.random, setTimer = nodeTimer } = parts;
  const provider = (id: string) => parts.policy.provider(id);
  let closed = false;
  // A step may end after the daemon has closed everything else.
  const onWrite = (): void => {
    if (!closed) view.refresh();
  };
  const shared = { vault, call: washing(call), alerts, now, random, onWrite };
  const accessTokens = new TokenSource(shared);
  const rotations = new AutomaticRotations({ ...shared, provider, accessTokens });
  let cancel = (): void => {};
  let lookAt = 0;
  const tick = (): void => {
    try {
      if (vault.sealed) accessTokens.clear();
      else {
        accessTokens.tick();
        if (now() >= lookAt) {
          lookAt = now() + DUE_EVERY_MS;
          beginDue({ ...shared, provider, onFailure });
        }
        rotations.tick();
      }
    } catch (error) {
      onFailure(error);
    }
    if (!closed) cancel = setTimer(TICK_MS, tick);
  };
  cancel = setTimer(TICK_MS, tick);
  return {
    accessTokens,
    close: () => {
      closed = true;
      cancel();
      accessTokens.clear();
    },
  };
}

/** Begins a rotation for every key that is older than it may be and that sidekey can replace itself. */
export function beginDue(
  parts: Pick<AutomationParts, "vault" | "onFailure"> & {
    readonly provider: (id: string) => Provider | undefined;
    readonly now: () => number;
    readonly onWrite: () => void;
  },
): void {
  const { vault, now } = parts;
  const { policies, rotations } = vault.read((view) => ({
    policies: listRotationPolicies(view),
    rotations: listRotations(view),
  }));
  if (policies.size === 0) return;
  for (const credential of vault.listCredentials()) {
    const policy = policies.get(credential.id);
    const automatic = policy?.automatic ?? null;
    if (policy === undefined || automatic === null) continue;
    const due = rotationDueAt(credential, policy, providerMaxAgeMs(parts.provider(credential.provider)));
    if (due === null || due > now() || !isFree(credential, rotations.get(credential.id) ?? null, now())) continue;
    try {
      const wanted = { policy: automatic, pace: paceOf(policy) };
      vault.write((transaction) => beginAutomaticRotation(transaction, credential.name, wanted, "sidekey"));
      parts.onWrite();
    } catch (error) {
      // A key of a failed rotation that is still being ended: later.
      if (!(error instanceof VaultError)) parts.onFailure(error);
    }
  }
}

function isFree({ state }: Credential, last: Rotation | null, nowMs: number): boolean {
  if (state !== "enabled") return false;
  if (last?.phase === "failed" && nowMs < last.since + AFTER_FAILURE_MS) return false;
  return !isUnderWay(last);
}

/** How the traffic of a credential moves to a new key. */
export function paceOf({ steps, stepMs, graceMs }: RotationPolicy): AutomaticPace {
  return {
    steps: steps ?? DEFAULT_PACE.steps,
    stepMs: stepMs ?? DEFAULT_PACE.stepMs,
    graceMs: graceMs ?? DEFAULT_PACE.graceMs,
  };
}
