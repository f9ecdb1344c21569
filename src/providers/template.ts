import type { Template } from "./schema.ts";

/** Stands for nothing: one side of a Basic pair that has no field. */
export const EMPTY_TEMPLATE: Template = Object.freeze({ prefix: "", suffix: "", field: null });

const PLACEHOLDER = /\{([^{}]*)\}/g;
const PRINTABLE = /^[\x20-\x7e]*$/;

/**
 * Parses literal text around exactly one `{field}`.
 * @throws Error with a sentence that says what to write instead.
 */
export function parseTemplate(text: string): Template & { readonly field: string } {
  const found = [...text.matchAll(PLACEHOLDER)];
  const [placeholder] = found;
  if (!placeholder) throw new Error(`"${text}" has no {field}; write the name of one credential field in braces`);
  if (found.length > 1) throw new Error(`"${text}" has ${found.length} {field} places; a template takes exactly one`);
  const prefix = text.slice(0, placeholder.index);
  const suffix = text.slice(placeholder.index + placeholder[0].length);
  if (/[{}]/.test(prefix + suffix)) throw new Error(`"${text}" has an unpaired brace`);
  // Templates end up in header lines, where a line break would start a field of its own.
  if (!PRINTABLE.test(prefix + suffix)) throw new Error("template text must be printable ASCII");
  return Object.freeze({ prefix, suffix, field: placeholder[1] ?? "" });
}
