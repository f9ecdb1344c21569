import assert from "node:assert/strict";
import { test } from "node:test";
import { checkSplice, SELF_CHECK_HOST } from "../../../src/daemon/pipeline/self-check.ts";
import { makeAuthority } from "../../support/test-authority.ts";

test("the library that is installed writes heads in the way that the splice knows", async () => {
  const authority = makeAuthority();
  const leaf = authority.issue({ hostnames: [SELF_CHECK_HOST] });
  await checkSplice({ chainPem: leaf.certPem, keyPem: leaf.keyPem, caPem: authority.caPem });
});

test("a peer that cannot be verified fails the check, and leaves nothing open behind", async () => {
  const leaf = makeAuthority().issue({ hostnames: [SELF_CHECK_HOST] });
  const other = makeAuthority("another authority");
  await assert.rejects(checkSplice({ chainPem: leaf.certPem, keyPem: leaf.keyPem, caPem: other.caPem }), {
    code: "upstream_tls",
  });
});
