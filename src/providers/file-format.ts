import { z } from "zod";
import { LIMIT_KINDS } from "./limits/limit-kind.ts";
import { TIME_FORMATS } from "./limits/told-time.ts";
import { DIALECT_NAMES } from "./usage/dialects.ts";

/**
 * A provider file as it is written. What the parts mean to each other (fields that templates name, hosts that rules
 * narrow to) is checked afterwards in schema.ts, where the domain value is built.
 */
const text = z.string().min(1).max(2000);
const identifier = z.string().regex(/^[a-z][a-z0-9-]{0,63}$/, "must be lower-case letters, digits and -, like fmp");
const fieldName = z.string().regex(/^[a-z][a-z0-9_]{0,63}$/, "must be lower-case letters, digits and _, like api_key");
const headerName = z
  .string()
  .regex(/^[a-z0-9!#$%&'*+.^_`|~-]+$/, "must be a lower-case header name")
  .refine((name) => !FRAMING_HEADERS.has(name), "is a header that frames the message or belongs to one hop");
const parameterName = z.string().regex(/^[A-Za-z0-9._~$-]+$/, "must be a query parameter name of A-Za-z0-9._~$-");
const cookieName = z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/, "must be a cookie name");
const headerText = z.string().regex(/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/, "must be printable ASCII");
const jsonPointer = z
  .string()
  .regex(/^(?:\/(?:[^~/]|~[01])+)+$/, "must be a JSON pointer to an object member, like /secret (RFC 6901)");
const method = z.string().regex(/^[A-Z]{3,16}$/, "must be an upper-case method, like GET");
const path = z.string().regex(/^\/[\x21-\x7e]*$/, "must be a path that begins with /");
const status = z.number().int().min(100).max(599);
const evidence = z.enum(["D", "S", "X", "T", "R"]);
const httpsUrl = z.string().regex(/^https:\/\/[\x21-\x7e]+$/, "must be an https:// address");
const rate = z
  .string()
  .regex(/^[1-9]\d*\/(?:s|min|h|d|[1-9]\d*(?:s|m|min|h|d))$/, "must be a rate, like 300/min or 1/15s");
const tokenWord = z.string().regex(/^[a-z][a-z0-9-]*$/, "must be lower-case letters, digits and -");

const dialect = z.enum(DIALECT_NAMES, { error: `must be one of ${DIALECT_NAMES.join(", ")}` });

const DAY_MS = 86_400_000;

/** Never an auth place or a carrier: removing or setting one of these would change where a message ends or goes. */
const FRAMING_HEADERS = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

const narrowing = {
  hosts: z.array(text).min(1).optional(),
  methods: z.array(method).min(1).optional(),
  paths: z.array(text).min(1).optional(),
};

const auth = z.discriminatedUnion("scheme", [
  z.strictObject({ scheme: z.literal("header"), headers: nonEmpty(headerName, text), ...narrowing }),
  z.strictObject({ scheme: z.literal("query"), query: nonEmpty(parameterName, fieldName), ...narrowing }),
  z.strictObject({ scheme: z.literal("basic"), user: z.string(), password: z.string(), ...narrowing }),
  z.strictObject({ scheme: z.literal("body-json"), pointer: jsonPointer, field: fieldName, ...narrowing }),
  z.strictObject({
    scheme: z.literal("oauth2"),
    grant: z.enum(["client-credentials", "refresh-token"]),
    tokenHost: text,
    tokenPath: path,
    clientAuth: z.enum(["basic", "body"]),
    clientId: fieldName,
    clientSecret: fieldName,
    refreshToken: fieldName.optional(),
    scope: headerText.optional(),
    ...narrowing,
  }),
  z.strictObject({ scheme: z.literal("none"), ...narrowing }),
]);

const field = z.strictObject({
  label: text,
  secret: z.boolean(),
  shape: z
    .strictObject({
      prefixes: z.array(headerText).min(1).optional(),
      alphabet: text.optional(),
      length: z.union([z.int().min(1), z.tuple([z.int().min(1), z.int().min(1)])]).optional(),
      evidence: evidence.optional(),
    })
    .optional(),
  hint: text.optional(),
});

const carriers = z.strictObject({
  headers: z.array(headerName).optional(),
  query: z.array(parameterName).optional(),
  body: z.array(jsonPointer).optional(),
  cookies: z.array(cookieName).optional(),
});

const probeMeaning = z.enum(["valid", "invalid", "limited", "forbidden", "plan", "unknown"]);
const errorMeaning = z.enum([
  "invalid",
  "quota",
  "limited",
  "plan",
  "forbidden",
  "retired",
  "session",
  /** the provider is in trouble or overloaded */
  "unavailable",
  /** the request is wrong, and the key is not the reason */
  "request",
  "unknown",
]);

const probe = z.strictObject({
  method,
  path,
  host: text.optional(),
  body: z.string().max(10_000).optional(),
  valid: z.array(status).min(1),
  invalid: z.array(status).optional(),
  forbidden: z.array(status).optional(),
  limited: z.array(status).optional(),
  notes: text.optional(),
  rules: z
    .array(z.strictObject({ status, match: text.optional(), means: probeMeaning, note: text.optional() }))
    .optional(),
});

/** Where the answer to the probe says until when the key is good. */
const expiry = z
  .strictObject({
    header: headerName.optional(),
    json: jsonPointer.optional(),
    format: z.enum(["iso", "epoch-seconds", "epoch-ms"]),
  })
  .refine(({ header, json }) => (header === undefined) !== (json === undefined), "needs either header or json");

/** Answers that hold a new token: whoever reads one needs no sidekey any more. */
const mints = z.strictObject({
  hosts: z.array(text).min(1).optional(),
  methods: z.array(method).min(1).optional(),
  paths: z.array(text).min(1),
  members: z.array(z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "must be the name of a JSON member")).min(1),
});

const days = z
  .string()
  .regex(/^[1-9]\d{0,3}d$/, "must be whole days, like 90d")
  .transform((written) => Number(written.slice(0, -1)) * DAY_MS);

export const providerFile = z.strictObject({
  id: identifier,
  name: text,
  category: tokenWord,
  docs: httpsUrl,
  keyPage: httpsUrl.optional(),
  sources: z.array(text).min(1),
  environments: nonEmpty(identifier, z.strictObject({ hosts: z.array(text).min(1) })),
  fields: z.record(fieldName, field),
  auth: z.array(auth).min(1),
  carriers: carriers.optional(),
  requestHeaders: z.record(headerName, headerText).optional(),
  probe: probe.optional(),
  expiry: expiry.optional(),
  mints: z.array(mints).optional(),
  permissions: text.optional(),
  limits: z
    .array(
      z.strictObject({
        plan: text,
        requests: rate,
        per: tokenWord.optional(),
        evidence: evidence.optional(),
        note: text.optional(),
      }),
    )
    .optional(),
  limitHeaders: z
    .strictObject({
      dialect: z.enum(["standard", "fields", "openai", "anthropic", "mistral", "binance"]),
      /** Whose they are: all keys together when the provider counts by address. */
      per: z.enum(["key", "address"]).optional(),
      /** What `standard` and `fields` count. */
      kind: z.enum(LIMIT_KINDS).optional(),
      /** Names for `fields`. */
      limit: headerName.optional(),
      remaining: headerName.optional(),
      used: headerName.optional(),
      reset: headerName.optional(),
      /** How the reset is written, where its size would not tell. */
      resetAs: z.enum(TIME_FORMATS).optional(),
      /** What there is, for `binance`, which tells only what was used. */
      quotas: z.partialRecord(z.enum(LIMIT_KINDS), z.int().min(1)).optional(),
    })
    .refine(namesFields, "fields needs remaining, and only fields names limit, remaining, used and reset")
    .optional(),
  errors: z
    .array(
      z
        .strictObject({
          status: status.optional(),
          /** text anywhere in the answer */
          match: text.optional(),
          /** text that the answer begins with */
          begins: text.optional(),
          /** a header field that the answer must not have */
          absent: headerName.optional(),
          means: errorMeaning,
          note: text.optional(),
        })
        .refine(
          ({ status: at, match, begins }) => at !== undefined || match !== undefined || begins !== undefined,
          "needs a status, a match or a begins",
        ),
    )
    .optional(),
  usage: z.strictObject({ dialect, unit: text.optional(), note: text.optional() }).optional(),
  websocket: z
    .array(
      z.strictObject({
        url: z.string().regex(/^wss?:\/\/\S+$/, "must be a wss:// address"),
        auth: tokenWord,
        note: text.optional(),
      }),
    )
    .optional(),
  rotation: z
    .strictObject({
      kind: z.enum(["none", "refresh", "revoke-only", "mint-and-revoke"]),
      /** After how long a key is due for another one; milliseconds once read. */
      maxAge: days.optional(),
      /** who makes and ends its keys, when sidekey can do that itself */
      rotator: identifier.optional(),
      note: text.optional(),
    })
    .optional(),
});

export type ProviderFile = z.infer<typeof providerFile>;
export type AuthFile = z.infer<typeof auth>;
export type FieldFile = z.infer<typeof field>;
export type Evidence = z.infer<typeof evidence>;

function nonEmpty<K extends z.ZodString, V extends z.ZodType>(key: K, value: V): z.ZodRecord<K, V> {
  return z.record(key, value).refine((entries) => Object.keys(entries).length > 0, "must have at least one entry");
}

interface NamedFields {
  readonly dialect: string;
  readonly limit?: string | undefined;
  readonly remaining?: string | undefined;
  readonly used?: string | undefined;
  readonly reset?: string | undefined;
}

function namesFields({ dialect, limit, remaining, used, reset }: NamedFields): boolean {
  if (dialect === "fields") return remaining !== undefined;
  return [limit, remaining, used, reset].every((name) => name === undefined);
}
