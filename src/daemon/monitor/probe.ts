import type { Cidr } from "../../policy/address.ts";
import { rewriteJsonBody } from "../../providers/auth/body-json.ts";
import { type InjectionPlan, planFor, type Rendering, renderSecret, selectAuth } from "../../providers/auth/plan.ts";
import { classifyProbe, learnedExpiry, type Meaning } from "../../providers/classify.ts";
import type { Probe, Provider } from "../../providers/schema.ts";
import { type Secret, secretBuffer } from "../../secret.ts";
import type { Credential } from "../../store/credentials.ts";
import { CallError, type CallProvider, type ProviderAnswer, type ProviderCall } from "./provider-call.ts";

/** What one question to the provider about one version brought to light. */
export interface ProbeResult {
  readonly meaning: Meaning;
  /** Null when no answer came. */
  readonly status: number | null;
  /** One sentence for the operator; nothing of the answer's body, nothing secret. */
  readonly detail: string;
  /** What the provider said, ms since the epoch; null when it said nothing. */
  readonly expiresAt: number | null;
}

export type ProbeVersion = (credential: Credential, version: number) => Promise<ProbeResult>;

/** What is to be asked about; a stored credential is one. */
export type ProbeSubject = Pick<Credential, "environment" | "hosts">;

export interface ProbeOptions {
  readonly timeoutMs: number;
  /** Non-public ranges in which the provider may be. */
  readonly private: readonly Cidr[];
  /** Told of the answer, whose body is wiped afterwards. */
  readonly answered?: (answer: ProviderAnswer) => void;
}

export const PROBE_TIMEOUT_MS = 15_000;

/**
 * Asks the provider whether these fields are a key of it, with the request that the provider's file gives. Never
 * throws: what cannot be told is `unknown`, and `detail` says why. The fields stay the caller's.
 */
export async function probeFields(
  call: CallProvider,
  provider: Provider,
  subject: ProbeSubject,
  fields: ReadonlyMap<string, Secret>,
  options: ProbeOptions,
): Promise<ProbeResult> {
  const { probe } = provider;
  if (probe === null) return untold(`the catalog knows no request that checks a key of ${provider.id}`);
  const at = probeHost(provider, probe, subject);
  if (at === null) return untold(`the credential may not go to the host that checks keys of ${provider.id}`);
  const held: Secret[] = [];
  let body: Buffer | null = null;
  try {
    const rule = selectAuth(provider, { host: at.host, method: probe.method, path: pathOf(probe) });
    const plan = planFor(rule);
    const render = (rendering: Rendering): Secret => {
      const secret = renderSecret(rendering, fields);
      held.push(secret);
      return secret;
    };
    body = probeBody(probe, plan, provider, render);
    const answer = await call({ ...placed(probe, plan, provider, { fields, render }), ...at, body, ...options });
    options.answered?.(answer);
    return read(provider, probe, answer, fields);
  } catch (error) {
    if (error instanceof CallError) return untold(`no answer to the check: ${error.message}`);
    return untold(`the check could not be made: ${error instanceof Error ? error.message : "unknown error"}`);
  } finally {
    for (const secret of held) secret.wipe();
    body?.fill(0);
  }
}

function untold(detail: string): ProbeResult {
  return { meaning: "unknown", status: null, detail, expiresAt: null };
}

function read(
  provider: Provider,
  probe: Probe,
  answer: ProviderAnswer,
  fields: ReadonlyMap<string, Secret>,
): ProbeResult {
  try {
    const meaning = classifyProbe(provider, answer);
    const alive = meaning === "valid" || meaning === "plan";
    // A body that repeats the key is never turned into text.
    const expiresAt = alive && !repeats(answer.body, fields) ? learnedExpiry(provider.expiry, answer) : null;
    const detail = `${probe.method} ${pathOf(probe)} answered ${answer.status}: ${MEANINGS[meaning]}`;
    return { meaning, status: answer.status, detail, expiresAt };
  } finally {
    answer.body.fill(0);
  }
}

const MEANINGS: Readonly<Record<Meaning, string>> = {
  valid: "the key is accepted",
  invalid: "the provider does not accept the key",
  forbidden: "the key is known, but not allowed to do this",
  limited: "a rate limit or quota is used up",
  plan: "the key is known, its plan does not include this",
  unknown: "this says nothing about the key",
};

function repeats(body: Buffer, fields: ReadonlyMap<string, Secret>): boolean {
  return [...fields.values()].some((secret) => secret.use((bytes) => body.includes(bytes)));
}

function pathOf({ path }: Probe): string {
  const at = path.indexOf("?");
  return at === -1 ? path : path.slice(0, at);
}

/** The first host of the environment, or the one that the probe names, that the credential is bound to. */
function probeHost(provider: Provider, probe: Probe, subject: ProbeSubject): { host: string; port: number } | null {
  const patterns = provider.environments.get(subject.environment)?.hosts ?? [];
  const named = patterns.filter(({ host }) => host === probe.host);
  const wanted = named.length > 0 ? named : probe.host === undefined ? patterns : [];
  const bound = subject.hosts.map((host) => authorityOf(host));
  for (const pattern of wanted) {
    const found = bound.find(({ host, port }) => port === pattern.port && names(pattern, host));
    if (found) return found;
  }
  return null;
}

function names({ host: pattern, wildcard }: { host: string; wildcard: boolean }, host: string): boolean {
  if (!wildcard) return host === pattern;
  const dot = host.indexOf(".");
  return dot > 0 && host.slice(dot) === pattern.slice(1);
}

/** `host` or `host:port`; a stored host without a port means 443. */
function authorityOf(text: string): { host: string; port: number } {
  const match = /^(.*?)(?::(\d+))?$/.exec(text);
  const host = match?.[1] ?? text;
  return { host: host.replace(/^\[(.*)\]$/, "$1"), port: match?.[2] === undefined ? 443 : Number(match[2]) };
}

interface Filling {
  readonly fields: ReadonlyMap<string, Secret>;
  readonly render: (rendering: Rendering) => Secret;
}

/** Names each secret of the plan; the call puts them in where it writes the request. */
function placed(
  probe: Probe,
  plan: InjectionPlan,
  provider: Provider,
  { fields, render }: Filling,
): Pick<ProviderCall, "method" | "path" | "fields" | "secrets"> {
  const secrets = new Map<string, Secret>();
  const lines: [string, string][] = [...provider.requestHeaders];
  for (const [index, place] of plan.headers.entries()) {
    secrets.set(`h${index}`, render(place.render));
    lines.push([place.name, `${place.prefix}{h${index}}${place.suffix}`]);
  }
  let { path } = probe;
  for (const [index, place] of plan.query.entries()) {
    // The call percent-encodes, so here it is the field as it is.
    const field = fields.get(place.render.fields[0] ?? "");
    if (!field) throw new Error(`credential has no field "${place.render.fields[0]}"; add a version that has it`);
    secrets.set(`q${index}`, field);
    path += `${path.includes("?") ? "&" : "?"}${place.name}={q${index}}`;
  }
  const typed = lines.some(([name]) => name === "content-type");
  if ((probe.body !== undefined || plan.body) && !typed) lines.push(["content-type", "application/json"]);
  return { method: probe.method, path, fields: lines, secrets };
}

/** Stands for the secret while the body is still text; no JSON writes it in another way. */
const STAND_IN = "sidekey-probe-secret";

function probeBody(
  probe: Probe,
  plan: InjectionPlan,
  provider: Provider,
  render: (rendering: Rendering) => Secret,
): Buffer | null {
  if (plan.body === null) return probe.body === undefined ? null : Buffer.from(probe.body, "utf8");
  const text = Buffer.from(probe.body ?? "{}", "utf8");
  const template = rewriteJsonBody(text, plan.body.pointer, STAND_IN, provider.carriers.body);
  const at = template.indexOf(STAND_IN);
  return render(plan.body.render).use((bytes) => {
    const whole = secretBuffer(template.length - STAND_IN.length + bytes.length);
    template.copy(whole, 0, 0, at);
    bytes.copy(whole, at);
    template.copy(whole, at + bytes.length, at + STAND_IN.length);
    return whole;
  });
}

export interface ProbeDeps {
  readonly call: CallProvider;
  readonly provider: (id: string) => Provider | undefined;
  /** Opens a version's fields for one probe; they are wiped here. */
  readonly openFields: (credentialId: string, version: number) => Map<string, Secret>;
  /** Non-public ranges in which this credential's provider may be. */
  readonly private: (credential: Credential) => readonly Cidr[];
  /** Told of every answer, whose body is wiped afterwards. Must not throw. */
  readonly answered?: (credential: Credential, version: number, answer: ProviderAnswer) => void;
}

/** The probe of stored versions. Never throws. */
export function createProbe(deps: ProbeDeps, timeoutMs = PROBE_TIMEOUT_MS): ProbeVersion {
  return async (credential, version) => {
    const provider = deps.provider(credential.provider);
    if (!provider) return untold(`provider ${credential.provider} is not in the catalog`);
    if (provider.probe === null) return untold(`the catalog knows no request that checks a key of ${provider.id}`);
    let fields: Map<string, Secret>;
    try {
      fields = deps.openFields(credential.id, version);
    } catch (error) {
      const why = error instanceof Error ? error.name : "unknown error";
      return untold(`version ${version} could not be opened (${why}); \`sidekey doctor\` tells more`);
    }
    try {
      const options = {
        timeoutMs,
        private: deps.private(credential),
        answered: (answer: ProviderAnswer) => deps.answered?.(credential, version, answer),
      };
      return await probeFields(deps.call, provider, credential, fields, options);
    } finally {
      for (const secret of fields.values()) secret.wipe();
    }
  };
}
