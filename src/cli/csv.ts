import { oneLine } from "./output.ts";

/** Needs no quotes under any separator that a spreadsheet may be set to. */
const PLAIN = /^[\w ./:@+=~()-]*$/;
/** What makes a cell a formula in spreadsheets (owasp.org/www-community/attacks/CSV_Injection), wide forms and blanks in front included. */
const FORMULA = /^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/;

/** A number stays as it is; text may come from clients and providers. */
export type CsvCell = string | number;

/** RFC 4180 with a heading: CRLF behind each line. Numbers that have to stay exact come as `{ digits }`. */
export function renderCsv(columns: readonly string[], rows: readonly (readonly (CsvCell | Digits)[])[]): string {
  return [columns, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

/** A number too exact for a number: decimal digits. */
export interface Digits {
  readonly digits: string;
}

function cell(value: CsvCell | Digits): string {
  if (typeof value === "number") return String(value);
  if (typeof value === "object") return value.digits;
  const text = FORMULA.test(value) ? `'${value}` : value;
  // Somebody will look at the file in a terminal.
  const shown = oneLine(text);
  return PLAIN.test(shown) ? shown : `"${shown.replaceAll('"', '""')}"`;
}
