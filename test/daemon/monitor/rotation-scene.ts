import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { type ProbeResult, Rotations } from "../../../src/daemon/monitor/rotation.ts";
import type { Outcome } from "../../../src/daemon/pipeline/exchange.ts";
import { watchVault } from "../../../src/daemon/vault-view.ts";
import type { Provider } from "../../../src/providers/schema.ts";
import { beginRotation, type NewRotation } from "../../../src/store/credential-rotation.ts";
import { getRotation, type Rotation } from "../../../src/store/rotations.ts";
import type { Vault } from "../../../src/store/vault.ts";
import { fields, newCredential, newVault, START_MS } from "../../support/vault-fixture.ts";

export const PACE = { steps: [50, 100], stepMs: 1_000, graceMs: 5_000 };

type Answer = ProbeResult["meaning"] | Error;

export interface RotationScene {
  readonly vault: Vault;
  readonly id: string;
  users: number;
  settleMs: number;
  /** What probes of a version answer, in order; the last one goes on. */
  readonly answers: Map<number, Answer[]>;
  readonly probed: number[];
  readonly alerts: string[];
  readonly failures: unknown[];
  begin(wanted?: Partial<NewRotation>): void;
  rotation(): Rotation | null;
  stages(): string;
  /** Lets the time go on and looks once; probes have ended when it returns. */
  after(ms: number): Promise<void>;
  /** Traffic of one version with these statuses. */
  traffic(version: number, statuses: readonly number[]): void;
  /** The same vault in a new daemon. */
  restart(): void;
  rotations: Rotations;
}

/** A vault with one credential, and an engine whose time, probes and traffic are the test's own. */
export async function rotationScene(
  t: TestContext,
  options: { prober?: false; provider?: Provider } = {},
): Promise<RotationScene> {
  const clock = { ms: START_MS };
  const { vault } = await newVault(t, { now: () => clock.ms });
  const { id } = vault.addCredential(newCredential("a"), fields({ api_key: "one" }), "ana");
  const view = watchVault(vault, () => {}, assert.ifError);
  t.after(() => view.close());
  const make = (): Rotations =>
    new Rotations({
      vault,
      view,
      provider: () => options.provider,
      prober: options.prober === false ? null : { probe: async (_, version) => probed(made, version) },
      alerts: {
        raise: (kind, object, severity, message) => made.alerts.push(`${severity} ${kind} ${object} ${message}`),
        clear: (kind, object) => made.alerts.push(`clear ${kind} ${object}`),
      },
      uses: () => made.users,
      settleMs: () => made.settleMs,
      now: () => clock.ms,
      setTimer: () => () => {},
      onFailure: (error) => made.failures.push(error),
    });
  const made: RotationScene = {
    vault,
    id,
    users: 0,
    settleMs: 0,
    answers: new Map(),
    probed: [],
    alerts: [],
    failures: [],
    begin: (wanted = {}) => {
      const all = { pace: PACE, validate: true, ...wanted, fields: fields({ api_key: "two" }) };
      vault.write((transaction) => beginRotation(transaction, "a", all, "ana"));
      view.refresh();
    },
    rotation: () => vault.read((seen) => getRotation(seen, id)),
    stages: () => {
      const phase = made.rotation()?.phase ?? "none";
      return `${phase}: ${vault
        .getCredential("a")
        .versions.map(({ stage }) => stage)
        .join(" ")}`;
    },
    after: async (ms) => {
      clock.ms += ms;
      view.refresh();
      made.rotations.tick();
      for (let n = 0; n < 20; n++) await null;
    },
    traffic: (version, statuses) => {
      for (const status of statuses) {
        made.rotations.outcome({ credential: "a", version, status, outcome: "ok" } as Outcome);
      }
    },
    restart: () => {
      made.rotations.close();
      made.rotations = make();
    },
    rotations: null as unknown as Rotations,
  };
  made.rotations = make();
  await made.after(0);
  made.alerts.length = 0;
  return made;
}

function probed(scene: RotationScene, version: number): ProbeResult {
  scene.probed.push(version);
  const list = scene.answers.get(version) ?? ["valid"];
  const meaning = (list.length > 1 ? list.shift() : list[0]) ?? "valid";
  if (meaning instanceof Error) throw meaning;
  return { meaning, status: null, detail: `it said ${meaning}` };
}
