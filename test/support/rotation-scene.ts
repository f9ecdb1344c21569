import { join } from "node:path";
import type { TestContext } from "node:test";
import { AutomaticRotations } from "../../src/daemon/monitor/automatic-rotation.ts";
import type { CallProvider } from "../../src/daemon/monitor/provider-call.ts";
import { TokenSource } from "../../src/daemon/monitor/refresh.ts";
import { loadCatalog } from "../../src/providers/catalog.ts";
import { beginAutomaticRotation } from "../../src/store/automatic-start.ts";
import { getRotation, putRotation, type Rotation } from "../../src/store/rotations.ts";
import type { Vault } from "../../src/store/vault.ts";
import { callStandIn } from "./call-stand-in.ts";
import type { KeyProvider } from "./key-provider.ts";
import type { StandIn } from "./stand-in.ts";
import { fields, newVault, reveal, START_MS } from "./vault-fixture.ts";

export const CATALOG = loadCatalog(join(import.meta.dirname, "../../config/providers")).providers;
const NAME = "main";
const PACE = { steps: [100], stepMs: 0, graceMs: 0 };

export interface Alert {
  readonly kind: string;
  readonly object: string;
  readonly severity: string;
  readonly message: string;
}

/** Collects what is open now. */
class AlertList {
  readonly open: Alert[] = [];

  raise(kind: string, object: string, severity: string, message: string): void {
    if (!this.open.some((each) => each.kind === kind)) this.open.push({ kind, object, severity, message });
  }

  clear(kind: string): void {
    for (let at = this.open.length - 1; at >= 0; at--) if (this.open[at]?.kind === kind) this.open.splice(at, 1);
  }
}

export async function rotationScene(t: TestContext, provider: KeyProvider): Promise<RotationScene> {
  const clock = { now: START_MS + 1000 };
  const { vault } = await newVault(t, { now: () => clock.now });
  const { standIn, call } = await callStandIn(t, provider.hosts, provider.handler);
  addCredentials(vault, provider);
  return new RotationScene({ provider, vault, standIn, clock, call });
}

interface SceneParts {
  readonly provider: KeyProvider;
  readonly vault: Vault;
  readonly standIn: StandIn;
  /** ms since the epoch, moved by the test */
  readonly clock: { now: number };
  readonly call: CallProvider;
}

/** One credential with its admin, the provider's stand-in, and engines that can be killed and begun again. */
export class RotationScene {
  readonly provider: KeyProvider;
  readonly vault: Vault;
  readonly standIn: StandIn;
  readonly clock: { now: number };
  /** Wraps every call to the provider. */
  aroundCall: (call: CallProvider) => CallProvider = (inner) => inner;
  readonly #call: CallProvider;
  readonly #alerts = new AlertList();
  readonly #id: string;
  #engine: AutomaticRotations;
  #boundary = "";
  #killed = false;

  constructor({ provider, vault, standIn, clock, call }: SceneParts) {
    this.provider = provider;
    this.vault = vault;
    this.standIn = standIn;
    this.clock = clock;
    this.#call = call;
    this.#id = vault.getCredential(NAME).id;
    this.#engine = this.#newEngine();
  }

  /** Calls that reach the stand-in. */
  get call(): CallProvider {
    return this.#call;
  }

  get alerts(): readonly Alert[] {
    return this.#alerts.open;
  }

  begin(): Rotation {
    const { rotator, admin, settings } = this.provider;
    const policy = { rotator, admin: admin === null ? null : "admin", settings };
    return this.vault.write((tx) => beginAutomaticRotation(tx, NAME, { policy, pace: PACE }, "ana"));
  }

  /** One tick, and everything that it began. */
  async step(): Promise<void> {
    this.#engine.tick();
    await this.#engine.settled();
  }

  /** Ticks until nothing is left to do, moving the clock to each next try; what lies between the steps is done. */
  async run(): Promise<void> {
    for (let n = 0; n < 40; n++) {
      await this.step();
      if (this.#killed) return;
      const { phase, nextTryAt, automatic } = this.rotation();
      if (phase === "done" || (phase === "failed" && automatic?.newKey === null)) return;
      if (phase === "testing") this.moveOn();
      this.clock.now = Math.max(this.clock.now + 1, nextTryAt ?? 0);
    }
  }

  rotation(): Rotation {
    const found = this.vault.read((view) => getRotation(view, this.#id));
    if (found === null) throw new Error("the scene has no rotation yet");
    return found;
  }

  /** Puts the rotation into a phase, as others than the engine may. */
  putPhase(phase: Rotation["phase"], problem: string | null = null): void {
    const before = this.rotation();
    this.vault.write((tx) => {
      putRotation(tx, this.#id, { ...before, phase, problem, since: this.clock.now });
      tx.note({ actor: "test", action: "rotation.put", object: `credential:${NAME}`, detail: { phase } });
    });
  }

  /** What testing and moving the traffic would do. */
  moveOn(): void {
    this.vault.promote(NAME, this.rotation().to ?? 0, "test");
    this.putPhase("revoking");
  }

  /** The engine throws at this boundary, and from then on can neither read nor write. */
  killAt(boundary: string): void {
    this.#boundary = boundary;
  }

  get killed(): boolean {
    return this.#killed;
  }

  /** A new engine, as after a restart. */
  restart(): void {
    this.#engine = this.#newEngine();
  }

  /** The value of the version in use. */
  current(): string {
    const { versions } = this.vault.getCredential(NAME);
    const number = versions.find(({ stage }) => stage === "current")?.number ?? 0;
    const opened = reveal(this.vault.openFields(this.#id, number, "test"));
    return opened.secret_access_key ?? opened.api_key ?? "";
  }

  /** Everything that was written for people: audit, rotation, alerts. */
  written(): string {
    return JSON.stringify([this.vault.listAudit(), this.rotation(), this.alerts, this.vault.listCredentials()]);
  }

  #newEngine(): AutomaticRotations {
    let killed = false;
    this.#killed = false;
    const vault = mortal(this.vault, () => killed);
    const shared = {
      vault,
      call: ((asked) => this.aroundCall(this.#call)(asked)) as CallProvider,
      alerts: this.#alerts,
      onWrite: () => {},
      now: () => this.clock.now,
      random: () => 0.5,
    };
    return new AutomaticRotations({
      ...shared,
      accessTokens: new TokenSource(shared),
      provider: (id) => CATALOG.get(id),
      testOnlyBoundary: (name) => {
        if (name !== this.#boundary) return;
        this.#boundary = "";
        killed = true;
        this.#killed = true;
        throw new Error("killed");
      },
    });
  }
}

/** A vault of a process that may be dead: then nothing reaches the disk any more. */
function mortal(vault: Vault, killed: () => boolean): Vault {
  return new Proxy(vault, {
    get(target, name) {
      const value = Reflect.get(target, name, target) as unknown;
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (killed()) throw new Error("this process is dead");
        return (value as (...all: unknown[]) => unknown).apply(target, args);
      };
    },
  });
}

function addCredentials(vault: Vault, { rotator, admin, fields: values, credentialHosts }: KeyProvider): void {
  const common = { environment: "live", category: "ai", owner: { kind: "service" as const } };
  vault.addCredential(
    { ...common, name: NAME, provider: rotator, hosts: credentialHosts },
    fields({ ...values }),
    "ana",
  );
  if (admin === null) return;
  const hosts =
    CATALOG.get(admin.provider)
      ?.environments.get("live")
      ?.hosts.map(({ host }) => host) ?? [];
  vault.addCredential(
    { ...common, name: "admin", provider: admin.provider, hosts },
    fields({ ...admin.fields }),
    "ana",
  );
}
