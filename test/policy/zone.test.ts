import assert from "node:assert/strict";
import test from "node:test";
import { checkZone } from "../../src/policy/zone.ts";

test("a time zone is one of the IANA database", () => {
  for (const zone of ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Asia/Kolkata", "Etc/GMT+5"]) {
    assert.doesNotThrow(() => checkZone(zone), zone);
  }
  for (const zone of ["", "Berlin", "Mars/Olympus", "+02:00", "Europe/Berlin ", "x".repeat(200), "__proto__"]) {
    assert.throws(() => checkZone(zone), /is not a time zone; write one such as UTC/, zone);
  }
});
