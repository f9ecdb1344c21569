import { carriersOf } from "./carriers.ts";
import type { AuthFile, FieldFile, ProviderFile } from "./file-format.ts";
import { compileGlob } from "./glob.ts";
import { parseHostPattern } from "./host-pattern.ts";
import type {
  AuthRule,
  Carriers,
  Environment,
  Field,
  HostPattern,
  MintRule,
  OAuth2Auth,
  Provider,
  Shape,
  Template,
} from "./schema.ts";
import { EMPTY_TEMPLATE, parseTemplate } from "./template.ts";
import type { YamlPath } from "./yaml-document.ts";

/** Records a problem at a place of the file; building goes on, so that all problems are reported together. */
export type Refuse = (path: YamlPath, problem: string) => void;

const ANY_LENGTH: readonly [number, number] = [1, 8192];

/** Builds the frozen domain value from a well-formed file. The result is only good when nothing was refused. */
export function buildProvider(file: ProviderFile, refuse: Refuse): Provider {
  const environments = buildEnvironments(file, refuse);
  const fields = new Map<string, Field>();
  for (const [name, field] of Object.entries(file.fields)) fields.set(name, buildField(name, field, refuse));
  const hosts = new Set(
    [...environments.values()].flatMap((environment) => environment.hosts.map((host) => host.host)),
  );
  const auth = file.auth.map((rule, index) => buildRule(rule, index, { fields, hosts, refuse }));
  checkReachable(auth, refuse);
  if (file.probe?.host !== undefined && !hosts.has(file.probe.host)) {
    refuse(["probe", "host"], `"${file.probe.host}" is not a host of any environment`);
  }
  return Object.freeze({
    id: file.id,
    name: file.name,
    category: file.category,
    docs: file.docs,
    ...(file.keyPage === undefined ? {} : { keyPage: file.keyPage }),
    sources: frozen(file.sources),
    environments,
    fields,
    auth: Object.freeze(auth),
    carriers: carriersOf({ auth, carriers: declaredCarriers(file) }),
    requestHeaders: new Map(Object.entries(file.requestHeaders ?? {})),
    probe: file.probe === undefined ? null : frozen(file.probe),
    expiry: file.expiry === undefined ? null : frozen(file.expiry),
    mints: Object.freeze(buildMints(file, auth, { hosts, refuse })),
    permissions: file.permissions ?? null,
    limits: frozen(file.limits ?? []),
    limitHeaders: file.limitHeaders === undefined ? null : frozen(file.limitHeaders),
    errors: frozen(file.errors ?? []),
    usage: file.usage === undefined ? null : frozen(file.usage),
    websocket: frozen(file.websocket ?? []),
    rotation: file.rotation === undefined ? null : frozen(file.rotation),
  });
}

/** Runs a parser that throws a sentence, and records the sentence. */
function attempt<T>(parse: () => T, path: YamlPath, refuse: Refuse): T | null {
  try {
    return parse();
  } catch (error) {
    refuse(path, error instanceof Error ? error.message : String(error));
    return null;
  }
}

function buildEnvironments(file: ProviderFile, refuse: Refuse): Map<string, Environment> {
  const environments = new Map<string, Environment>();
  for (const [name, { hosts }] of Object.entries(file.environments)) {
    const patterns: HostPattern[] = [];
    const seen = new Set<string>();
    hosts.forEach((text, index) => {
      const path = ["environments", name, "hosts", index];
      const pattern = attempt(() => parseHostPattern(text), path, refuse);
      if (!pattern) return;
      const authority = `${pattern.host}:${pattern.port}`;
      if (seen.has(authority)) refuse(path, `"${text}" is listed twice`);
      seen.add(authority);
      patterns.push(pattern);
    });
    environments.set(name, Object.freeze({ hosts: Object.freeze(patterns) }));
  }
  return environments;
}

function buildField(name: string, field: FieldFile, refuse: Refuse): Field {
  return Object.freeze({
    name,
    label: field.label,
    secret: field.secret,
    shape: field.shape ? buildShape(name, field.shape, refuse) : null,
    hint: field.hint ?? null,
  });
}

function buildShape(name: string, shape: NonNullable<FieldFile["shape"]>, refuse: Refuse): Shape {
  const path = ["fields", name, "shape"];
  const [minLength, maxLength] =
    typeof shape.length === "number" ? [shape.length, shape.length] : (shape.length ?? ANY_LENGTH);
  if (minLength > maxLength) refuse([...path, "length"], `[${minLength}, ${maxLength}] is empty; write [least, most]`);
  const text = shape.alphabet;
  const alphabet = text === undefined ? null : attempt(() => parseAlphabet(text), [...path, "alphabet"], refuse);
  const prefixes = shape.prefixes ?? [];
  prefixes.forEach((prefix, index) => {
    const foreign = [...prefix].find((character) => alphabet && !alphabet.has(character.charCodeAt(0)));
    if (foreign) refuse([...path, "prefixes", index], `"${prefix}" has "${foreign}", which the alphabet leaves out`);
  });
  return Object.freeze({
    prefixes: frozen(prefixes),
    alphabet,
    alphabetText: text ?? null,
    minLength,
    maxLength,
    evidence: shape.evidence ?? null,
    enforced: shape.evidence !== undefined && shape.evidence !== "R",
  });
}

/** `A-Za-z0-9_-`: ranges and single characters; `-` is itself when it stands last. */
function parseAlphabet(text: string): ReadonlySet<number> {
  const alphabet = new Set<number>();
  for (let index = 0; index < text.length; index++) {
    const from = text.charCodeAt(index);
    const isRange = text[index + 1] === "-" && index + 2 < text.length;
    const to = isRange ? text.charCodeAt(index + 2) : from;
    if (from < 0x21 || to > 0x7e || from > to) {
      throw new Error(`"${text}" is not an alphabet; write ranges and characters like A-Za-z0-9_ with - last`);
    }
    for (let code = from; code <= to; code++) alphabet.add(code);
    if (isRange) index += 2;
  }
  return alphabet;
}

interface RuleContext {
  readonly fields: ReadonlyMap<string, Field>;
  readonly hosts: ReadonlySet<string>;
  readonly refuse: Refuse;
}

function buildRule(rule: AuthFile, index: number, context: RuleContext): AuthRule {
  const at = ["auth", index];
  const narrowing = buildNarrowing(rule, at, context);
  const field = (name: string, path: YamlPath): string => {
    const known = [...context.fields.keys()].join(", ") || "none";
    if (!context.fields.has(name)) context.refuse(path, `field "${name}" is not in fields (${known})`);
    return name;
  };
  const template = (text: string, path: YamlPath): Template & { field: string } => {
    const parsed = attempt(() => parseTemplate(text), path, context.refuse);
    if (parsed) field(parsed.field, path);
    return parsed ?? { prefix: "", suffix: "", field: "" };
  };
  if (rule.scheme === "header") {
    const headers = Object.entries(rule.headers).map(([name, text]) => {
      return Object.freeze({ name, ...template(text, [...at, "headers", name]) });
    });
    return Object.freeze({ scheme: rule.scheme, headers: Object.freeze(headers), ...narrowing });
  }
  if (rule.scheme === "query") {
    const query = Object.entries(rule.query).map(([name, fieldName]) => {
      return Object.freeze({ name, field: field(fieldName, [...at, "query", name]) });
    });
    return Object.freeze({ scheme: rule.scheme, query: Object.freeze(query), ...narrowing });
  }
  if (rule.scheme === "basic") {
    const side = (key: "user" | "password") => (rule[key] === "" ? EMPTY_TEMPLATE : template(rule[key], [...at, key]));
    if (rule.user === "" && rule.password === "") context.refuse(at, "user and password are both empty; name a field");
    if (rule.user.includes(":")) context.refuse([...at, "user"], "a Basic user cannot contain : (RFC 7617)");
    return Object.freeze({ scheme: rule.scheme, user: side("user"), password: side("password"), ...narrowing });
  }
  if (rule.scheme === "body-json") {
    const named = field(rule.field, [...at, "field"]);
    return Object.freeze({ scheme: rule.scheme, pointer: rule.pointer, field: named, ...narrowing });
  }
  if (rule.scheme === "oauth2") return Object.freeze({ ...buildOAuth2(rule, at, context), ...narrowing });
  return Object.freeze({ scheme: rule.scheme, ...narrowing });
}

function buildOAuth2(rule: AuthFile & { scheme: "oauth2" }, at: YamlPath, context: RuleContext): OAuth2Auth {
  const { fields, hosts, refuse } = context;
  if (!hosts.has(rule.tokenHost)) {
    refuse([...at, "tokenHost"], `"${rule.tokenHost}" is not a host of any environment; the fields are sent there too`);
  }
  const known = [...fields.keys()].join(", ") || "none";
  for (const key of ["clientId", "clientSecret", "refreshToken"] as const) {
    const name = rule[key];
    if (name !== undefined && !fields.has(name)) refuse([...at, key], `field "${name}" is not in fields (${known})`);
  }
  for (const [, name = ""] of rule.tokenPath.matchAll(/\{([^{}]*)\}/g)) {
    if (fields.get(name)?.secret !== false) {
      refuse([...at, "tokenPath"], `{${name}} must name a field that is no secret; a path is logged`);
    }
  }
  if ((rule.grant === "refresh-token") !== (rule.refreshToken !== undefined)) {
    refuse([...at, "grant"], "refresh-token needs refreshToken, the field that holds it; client-credentials has none");
  }
  const { scheme, grant, tokenHost, tokenPath, clientAuth, clientId, clientSecret } = rule;
  const optional = { refreshToken: rule.refreshToken ?? null, scope: rule.scope ?? null };
  return { scheme, grant, tokenHost, tokenPath, clientAuth, clientId, clientSecret, ...optional };
}

/** RFC 6749 section 5.1, and OpenID Connect Core section 3.1.3.3. */
const OAUTH_TOKENS = new Set(["access_token", "refresh_token", "id_token"]);

function buildMints(
  file: ProviderFile,
  auth: readonly AuthRule[],
  { hosts, refuse }: Pick<RuleContext, "hosts" | "refuse">,
): MintRule[] {
  const declared = (file.mints ?? []).map((rule, index): MintRule => {
    const { paths = [], ...narrowing } = buildNarrowing(rule, ["mints", index], { fields: new Map(), hosts, refuse });
    return { methods: new Set(["POST"]), ...narrowing, paths, members: new Set(rule.members) };
  });
  const exchanged = auth.flatMap((rule): MintRule[] => {
    if (rule.scheme !== "oauth2") return [];
    const paths = [compileGlob(rule.tokenPath.replaceAll(/\{[^{}]*\}/g, "*"))];
    return [{ hosts: new Set([rule.tokenHost]), methods: new Set(["POST"]), paths, members: OAUTH_TOKENS }];
  });
  return [...declared, ...exchanged].map((rule) => Object.freeze(rule));
}

type NarrowingFile = {
  readonly [K in "hosts" | "methods" | "paths"]?: readonly string[] | undefined;
};

function buildNarrowing(rule: NarrowingFile, at: YamlPath, { hosts, refuse }: RuleContext) {
  rule.hosts?.forEach((host, index) => {
    if (!hosts.has(host)) refuse([...at, "hosts", index], `"${host}" is not a host of any environment (without port)`);
  });
  const paths = rule.paths?.flatMap((pattern, index) => {
    return attempt(() => compileGlob(pattern), [...at, "paths", index], refuse) ?? [];
  });
  return {
    ...(rule.hosts ? { hosts: new Set(rule.hosts) } : {}),
    ...(rule.methods ? { methods: new Set(rule.methods) } : {}),
    ...(paths ? { paths: Object.freeze(paths) } : {}),
  };
}

/** A rule behind one that applies everywhere is never used, which its author cannot have meant. */
function checkReachable(auth: readonly AuthRule[], refuse: Refuse): void {
  const everywhere = auth.findIndex((rule) => !rule.hosts && !rule.methods && !rule.paths);
  if (everywhere === -1 || everywhere === auth.length - 1) return;
  refuse(
    ["auth", everywhere + 1],
    `never applies, because auth[${everywhere}] applies everywhere; narrow that one, or list this place under carriers`,
  );
}

function declaredCarriers(file: ProviderFile): Carriers {
  return {
    headers: new Set(file.carriers?.headers),
    query: new Set(file.carriers?.query?.map((name) => name.toLowerCase())),
    body: file.carriers?.body ?? [],
    cookies: new Set(file.carriers?.cookies),
  };
}

/** Freezes plain data as deep as it goes. */
function frozen<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  for (const part of Object.values(value)) frozen(part);
  return Object.freeze(value);
}
