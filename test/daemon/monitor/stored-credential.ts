import type { Credential } from "../../../src/store/credentials.ts";

/** A credential as the vault lists it, with one current version. */
export function storedCredential(changes: Partial<Credential> = {}): Credential {
  const name = changes.name ?? "main";
  return {
    id: `id-${name}`,
    name,
    provider: "p",
    environment: "live",
    category: "c",
    owner: { kind: "service" },
    hosts: ["api.p.example"],
    fields: ["api_key"],
    state: "enabled",
    expiresAt: null,
    createdAt: 0,
    metadata: {},
    versions: [{ number: 1, stage: "current", createdAt: 0, fingerprint: "0" }],
    ...changes,
  };
}
