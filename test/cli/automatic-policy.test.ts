import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type AutomaticOptions, type AutomaticSubject, automaticPolicy } from "../../src/cli/automatic-policy.ts";
import { CliError } from "../../src/cli/failure.ts";
import { ROTATORS } from "../../src/daemon/monitor/rotators/known-rotators.ts";
import type { Credential } from "../../src/store/credentials.ts";
import { CATALOG } from "../support/rotation-scene.ts";

const stored = (name: string, provider: string) => ({ name, provider }) as Credential;
const ALL = [stored("admin", "openai-admin"), stored("fmp-main", "fmp"), stored("other", "aws-iam")];

function subject(provider: string, policy: AutomaticSubject["policy"] = null): AutomaticSubject {
  const found = CATALOG.get(provider);
  assert.ok(found);
  return {
    credential: stored("main", provider),
    provider: found,
    policy,
    find: (name) => ALL.find((each) => each.name === name),
  };
}

const given = (options: Partial<AutomaticOptions>): AutomaticOptions => ({ set: [], ...options });

function refused(options: Partial<AutomaticOptions>, on: AutomaticSubject): string {
  let message = "";
  assert.throws(
    () => automaticPolicy(given(options), on),
    (error) => {
      assert.ok(error instanceof CliError);
      assert.equal(error.exitCode, 2);
      message = `${error.message} | ${error.nextStep}`;
      return true;
    },
  );
  return message;
}

describe("credential rotation --automatic", () => {
  test("asks for nothing when no option is given", () => {
    assert.equal(automaticPolicy(given({}), subject("openai")), undefined);
  });

  test("takes the rotator of the provider, the admin and the settings", () => {
    const options = given({ automatic: true, admin: "admin", set: ["project=proj_abc"] });
    const policy = { rotator: "openai", admin: "admin", settings: { project: "proj_abc" } };
    assert.deepEqual(automaticPolicy(options, subject("openai")), policy);
    assert.deepEqual(automaticPolicy(given({ set: ["project=proj_x"] }), subject("openai", policy)), {
      ...policy,
      settings: { project: "proj_x" },
    });
    assert.equal(automaticPolicy(given({ automatic: false }), subject("openai", policy)), null);
  });

  test("a key that makes its own successor needs no admin; another credential may do it for AWS", () => {
    const alone = automaticPolicy(given({ automatic: true }), subject("perplexity"));
    assert.deepEqual(alone, { rotator: "perplexity", admin: null, settings: {} });
    const other = automaticPolicy(given({ automatic: true, admin: "other", set: ["user=bot"] }), subject("aws-iam"));
    assert.deepEqual(other, { rotator: "aws-iam", admin: "other", settings: { user: "bot" } });
  });

  test("says what is wrong and what to do, and repeats no value", () => {
    assert.match(
      refused({ automatic: true }, subject("fmp")),
      /cannot make keys of fmp itself.*--max-age to be reminded/,
    );
    assert.match(refused({ automatic: true }, subject("openai")), /one of openai-admin \| store it with/);
    assert.match(refused({ automatic: true, admin: "nobody" }, subject("openai")), /no credential "nobody"/);
    assert.match(refused({ automatic: true, admin: "fmp-main" }, subject("openai")), /one of fmp, which makes no keys/);
    assert.match(
      refused({ automatic: true, admin: "admin" }, subject("openai")),
      /--set project is missing \| add --set/,
    );
    const wrong = { automatic: true, admin: "admin" };
    assert.match(
      refused({ ...wrong, set: ["project=CANARY"] }, subject("openai")),
      /not the project's id, like proj_abc/,
    );
    const typed = refused({ ...wrong, set: ["sk-CANARY"] }, subject("openai"));
    assert.match(typed, /--set takes name=value with a known name \| known: project/);
    assert.doesNotMatch(typed, /CANARY/);
    assert.match(refused({ ...wrong, set: ["__proto__=x"] }, subject("openai")), /known name/);
    assert.match(refused({ admin: "admin" }, subject("openai")), /add --automatic/);
    assert.match(refused({ automatic: false, admin: "admin" }, subject("openai")), /takes neither/);
  });
});

describe("the catalog and the rotators", () => {
  test("every rotator that a provider file names is there, and the other way round", () => {
    const named = [...CATALOG.values()].flatMap(({ rotation }) => rotation?.rotator ?? []);
    assert.deepEqual(named.sort(), [...ROTATORS.keys()].sort());
  });

  test("every admin provider is in the catalog, and its credential may go where its rotator asks", () => {
    const wanted: Record<string, string> = {
      openai: "api.openai.com",
      openrouter: "openrouter.ai",
      xai: "management-api.x.ai",
      "aws-iam": "iam.amazonaws.com",
      "azure-openai": "management.azure.com",
    };
    for (const rotator of ROTATORS.values()) {
      if (rotator.admin === null) continue;
      const admin = CATALOG.get(rotator.admin);
      const hosts = [...(admin?.environments.values() ?? [])].flatMap((each) => each.hosts.map(({ host }) => host));
      assert.ok(hosts.includes(wanted[rotator.id] ?? ""), rotator.id);
    }
  });

  test("a rotator makes exactly the fields that its provider's keys have", () => {
    for (const [id, rotator] of ROTATORS) {
      const provider = [...CATALOG.values()].find(({ rotation }) => rotation?.rotator === id);
      assert.deepEqual([...(provider?.fields.keys() ?? [])], rotator.fields, id);
    }
  });
});
