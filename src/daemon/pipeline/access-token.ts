import type { OAuth2Auth } from "../../providers/schema.ts";
import type { Secret } from "../../secret.ts";
import type { Credential } from "../../store/credentials.ts";

/** An access token that a version's fields were exchanged for. */
export interface AccessToken {
  /** Another one for every token that was ever got. */
  readonly serial: number;
  /** The fields to inject; the caller wipes them. */
  open(): Map<string, Secret>;
}

export interface AccessTokens {
  /**
   * A token that can be used now; a promise only when one has to be got first.
   * @throws ProxyError no_usable_credential, when the provider gives none
   */
  take(credential: Credential, version: number, rule: OAuth2Auth): AccessToken | Promise<AccessToken>;
}
