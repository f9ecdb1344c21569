import { providerMaxAgeMs } from "../daemon/monitor/rotation-due.ts";
import type { RotationPace } from "../store/credential-rotation.ts";
import type { Credential } from "../store/credentials.ts";
import { getRotationPolicy, type RotationPolicy, rotationDueAt } from "../store/rotation-policies.ts";
import { DEFAULT_PACE, nextDueAt, rampPercent } from "../store/rotation-step.ts";
import { getRotation, isUnderWay, type Rotation } from "../store/rotations.ts";
import type { Vault } from "../store/vault.ts";
import type { Cli } from "./cli.ts";
import { usageError } from "./failure.ts";
import { formatSpan, formatTime, parseSpan } from "./output.ts";

/** A credential with what is known of its rotation. */
export interface RotationFacts {
  readonly rotation: Rotation | null;
  readonly rotationPolicy: RotationPolicy;
  /** ms since the epoch; null when no age is set. */
  readonly rotationDueAt: number | null;
}

export function rotationFacts(cli: Cli, vault: Vault, credential: Credential): RotationFacts {
  const { rotation, rotationPolicy } = vault.read((view) => ({
    rotation: getRotation(view, credential.id),
    rotationPolicy: getRotationPolicy(view, credential.id),
  }));
  return {
    rotation,
    rotationPolicy,
    rotationDueAt: rotationDueAt(credential, rotationPolicy, maxAge(cli, credential)),
  };
}

/** A catalog that cannot be read is another command's matter. */
function maxAge(cli: Cli, { provider }: Credential): number | null {
  try {
    return providerMaxAgeMs(cli.catalog().providers.get(provider));
  } catch {
    return null;
  }
}

/** One line: `ramping 25 %`; `-` when there never was one. */
export function rotationSummary(rotation: Rotation | null): string {
  if (rotation === null) return "-";
  return rotation.phase === "ramping" ? `ramping ${rampPercent(rotation)} %` : rotation.phase;
}

/** `name  value` pairs for `credential show`. */
export function rotationLines({ rotation, rotationPolicy, rotationDueAt: dueAt }: RotationFacts): [string, string][] {
  const lines: [string, string][] = [["rotation due", formatTime(dueAt)]];
  if (rotationPolicy.automatic !== null) lines.push(["rotated by", `sidekey (${rotationPolicy.automatic.rotator})`]);
  if (rotation === null) return lines;
  const { from, to } = rotation;
  const versions = `version ${from ?? "-"} to ${to ?? "-"}`;
  lines.push(["rotation", `${rotationSummary(rotation)}, ${versions}, since ${formatTime(rotation.since)}`]);
  if (isUnderWay(rotation)) lines.push(["served by", `${rampPercent(rotation)} % version ${to ?? "-"}`]);
  const next = isUnderWay(rotation) ? nextDueAt(rotation) : null;
  if (next !== null) lines.push(["next step", `${formatTime(next)} (${nextText(rotation)})`]);
  if (rotation.problem !== null) lines.push(["problem", rotation.problem]);
  return lines;
}

function nextText(rotation: Rotation): string {
  if (rotation.phase === "ramping") return `${rotation.steps[rotation.step + 1] ?? 100} %`;
  if (rotation.phase === "grace") return `version ${rotation.from ?? "-"} is revoked`;
  return "tried again";
}

/** How fast, in words. */
export function paceText({ steps, stepMs, graceMs }: RotationPace): string {
  const ramp =
    steps.length < 2 ? "all clients at once" : `${steps.join(", ")} % of the clients, ${formatSpan(stepMs)} each`;
  return `${ramp}; the old version is revoked ${formatSpan(graceMs)} after that`;
}

export interface PaceOptions {
  readonly steps?: string;
  readonly every?: string;
  readonly grace?: string;
}

/**
 * What the options say about the pace; nothing for what is left out.
 * @throws CliError with exit 2
 */
export function paceFrom(options: PaceOptions): Partial<RotationPace> {
  return {
    ...(options.steps === undefined ? {} : { steps: stepsFrom(options.steps) }),
    ...(options.every === undefined ? {} : { stepMs: spanFrom("--every", options.every, "10m") }),
    ...(options.grace === undefined ? {} : { graceMs: spanFrom("--grace", options.grace, "24h") }),
  };
}

/** The options, else the credential's policy, else the default. */
export function paceOf(given: Partial<RotationPace>, policy: RotationPolicy): RotationPace {
  return {
    steps: given.steps ?? policy.steps ?? DEFAULT_PACE.steps,
    stepMs: given.stepMs ?? policy.stepMs ?? DEFAULT_PACE.stepMs,
    graceMs: given.graceMs ?? policy.graceMs ?? DEFAULT_PACE.graceMs,
  };
}

function stepsFrom(text: string): number[] {
  const steps = text.split(",").map((step) => (/^[1-9]\d{0,2}$/.test(step.trim()) ? Number(step) : Number.NaN));
  const good = steps.every((step, at) => step > (steps[at - 1] ?? 0)) && steps.at(-1) === 100;
  if (good) return steps;
  throw usageError(
    "--steps takes percentages that grow and end with 100",
    "for example 5,25,50,100, or 100 for at once",
  );
}

function spanFrom(option: string, text: string, example: string): number {
  const ms = text === "0" ? 0 : parseSpan(text);
  if (ms === null) throw usageError(`${option} takes a span`, `for example ${example}, or 0`);
  return ms;
}
