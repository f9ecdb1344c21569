import { join } from "node:path";
import type { TestContext } from "node:test";
import { AutomaticRotations } from "../../src/daemon/monitor/automatic-rotation.ts";
import type { CallProvider } from "../../src/daemon/monitor/provider-call.ts";
import { TokenSource } from "../../src/daemon/monitor/refresh.ts";
import { loadCatalog } from "../../src/providers/catalog.ts";
import { beginAutomaticRotation } from "../../src/store/automatic-start.ts";
import { promoteVersion } from "../../src/store/credentials.ts";
import { getRotation, putRotation, type Rotation } from "../../src/store/rotations.ts";
import type { Vault } from "../../src/store/vault.ts";
import { callStandIn } from "./call-stand-in.ts";
import type { KeyProvider } from "./key-providers.ts";
import type { StandIn } from "./stand-in.ts";
import { fields, newVault, START_MS } from "./vault-fixture.ts";

export const CATALOG = loadCatalog(join(import.meta.dirname, "../../config/providers")).providers;
const NAME = "main";
const PACE = { steps: [100], stepMs: 0, graceMs: 0 };

export interface Alert {
  readonly kind: string;
  readonly object: string;
  readonly severity: string;
  readonly message: string;
}

/** One credential with its admin, the provider's stand-in, and engines that can be killed and begun again. */
export interface RotationScene {
  readonly provider: KeyProvider;
  readonly vault: Vault;
  readonly standIn: StandIn;
  readonly alerts: Alert[];
  /** ms since the epoch, moved by the test */
  readonly clock: { now: number };
  begin(): Rotation;
  /** One tick, and everything that it began. */
  step(): Promise<void>;
  /** Ticks until nothing is left to do, moving the clock to each next try; what lies between the steps is done. */
  run(): Promise<void>;
  rotation(): Rotation;
  /** What testing and moving the traffic would do. */
  moveOn(): void;
  /** The next engine throws at this boundary, and from then on can neither read nor write. */
  killAt(boundary: string): void;
  /** Whether the last engine was killed. */
  killed(): boolean;
  /** A new engine, as after a restart. */
  restart(): void;
  /** Wraps every call to the provider. */
  aroundCall(wrap: (call: CallProvider) => CallProvider): void;
  /** The value of the version in use. */
  current(): string;
  /** Everything that was written for people: audit, rotation, alerts. */
  written(): string;
}

export async function rotationScene(t: TestContext, provider: KeyProvider): Promise<RotationScene> {
  const clock = { now: START_MS + 1000 };
  const { vault } = await newVault(t, { now: () => clock.now });
  const { standIn, call } = await callStandIn(t, provider.hosts, provider.handler);
  addCredentials(vault, provider);
  const alerts: Alert[] = [];
  const book = {
    raise: (kind: string, object: string, severity: string, message: string) => {
      if (!alerts.some((each) => each.kind === kind)) alerts.push({ kind, object, severity, message });
    },
    clear: (kind: string) => {
      for (let at = alerts.length - 1; at >= 0; at--) if (alerts[at]?.kind === kind) alerts.splice(at, 1);
    },
  };
  let wrap = (inner: CallProvider): CallProvider => inner;
  let boundary = "";
  let dead = false;
  const newEngine = (): AutomaticRotations => {
    let killed = false;
    const alive = mortal(vault, () => killed);
    const now = () => clock.now;
    const shared = {
      call: ((asked) => wrap(call)(asked)) as CallProvider,
      alerts: book,
      now,
      random: () => 0.5,
      onWrite: () => {},
    };
    const accessTokens = new TokenSource({ ...shared, vault: alive });
    dead = false;
    return new AutomaticRotations({
      ...shared,
      vault: alive,
      accessTokens,
      provider: (id) => CATALOG.get(id),
      testOnlyBoundary: (name) => {
        if (name !== boundary) return;
        boundary = "";
        killed = true;
        dead = true;
        throw new Error("killed");
      },
    });
  };
  let engine = newEngine();
  const { id } = vault.getCredential(NAME);
  const rotation = (): Rotation => {
    const found = vault.read((view) => getRotation(view, id));
    if (found === null) throw new Error("the scene has no rotation yet");
    return found;
  };
  const scene: RotationScene = {
    provider,
    vault,
    standIn,
    alerts,
    clock,
    rotation,
    begin: () => {
      const { rotator, admin, settings } = provider;
      const policy = { rotator, admin: admin === null ? null : "admin", settings };
      return vault.write((tx) => beginAutomaticRotation(tx, NAME, { policy, pace: PACE }, "ana"));
    },
    step: async () => {
      engine.tick();
      await engine.settled();
    },
    run: async () => {
      for (let n = 0; n < 40; n++) {
        await scene.step();
        if (dead) return;
        const { phase, nextTryAt, automatic } = rotation();
        if (phase === "done" || (phase === "failed" && automatic?.newKey === null)) return;
        if (phase === "testing") scene.moveOn();
        clock.now = Math.max(clock.now + 1, nextTryAt ?? 0);
      }
    },
    moveOn: () => {
      const before = rotation();
      vault.write((tx) => {
        promoteVersion(tx, NAME, before.to ?? 0, "test");
        putRotation(tx, id, { ...before, phase: "revoking", since: clock.now });
      });
    },
    killAt: (name) => {
      boundary = name;
    },
    killed: () => dead,
    restart: () => {
      engine = newEngine();
    },
    aroundCall: (other) => {
      wrap = other;
    },
    current: () => {
      const { versions } = vault.getCredential(NAME);
      const number = versions.find(({ stage }) => stage === "current")?.number ?? 0;
      const opened = vault.openFields(id, number, "test");
      return opened.get("secret_access_key")?.use(String) ?? opened.get("api_key")?.use(String) ?? "";
    },
    written: () =>
      JSON.stringify([vault.listAudit(), vault.read((view) => getRotation(view, id)), alerts, vault.listCredentials()]),
  };
  return scene;
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
