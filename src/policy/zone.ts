/**
 * Checks the name of a time zone of the IANA database.
 * @throws Error that says what to write; the caller adds the place.
 */
export function checkZone(name: string): void {
  if (!/^[A-Za-z][A-Za-z0-9_+/-]{0,63}$/.test(name)) throw unknownZone(name);
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
  } catch {
    throw unknownZone(name);
  }
}

function unknownZone(name: string): Error {
  return new Error(
    `"${name.slice(0, 64)}" is not a time zone; write one such as UTC, Europe/Berlin or America/New_York`,
  );
}
