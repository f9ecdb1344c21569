import type { Catalog } from "../providers/catalog.ts";
import { checkShape } from "../providers/field-shape.ts";
import { coversHost } from "../providers/host-pattern.ts";
import type { Provider } from "../providers/schema.ts";
import type { Secret } from "../secret.ts";
import { SubmissionError } from "../store/errors.ts";
import type { OpenedSubmission, SubmissionDetails } from "../store/submission.ts";

/**
 * Whether an opened submission is what the catalog says of its provider: environment, hosts, names of the fields and
 * what their values look like. Whoever sealed it may have had another catalog, or none.
 * @param options.shapes false takes a value that does not look like a key of the provider; bytes that could not stand
 * in a header line are refused all the same
 * @throws SubmissionError unknown_provider, wrong_hosts, wrong_fields or wrong_shape; never quotes a value
 */
export function checkSubmission(catalog: Catalog, opened: OpenedSubmission, options: { shapes: boolean }): void {
  const { details, fields } = opened;
  const provider = catalog.providers.get(details.provider);
  if (provider === undefined) {
    throw refusal("unknown_provider", `the catalog has no provider ${details.provider}; see \`sidekey provider list\``);
  }
  checkHosts(provider, details);
  const wanted = [...provider.fields.keys()];
  if (wanted.length !== fields.size || !wanted.every((name) => fields.has(name))) {
    const found = [...fields.keys()].join(", ");
    throw refusal("wrong_fields", `${provider.id} has the fields ${wanted.join(", ")}, but ${found} were submitted`);
  }
  for (const [name, secret] of fields) checkField(provider, name, secret, options.shapes);
}

function checkHosts(provider: Provider, { environment, hosts }: SubmissionDetails): void {
  const known = provider.environments.get(environment);
  if (known === undefined) {
    const names = [...provider.environments.keys()].join(", ");
    throw refusal("wrong_hosts", `${provider.id} has no environment ${environment}; its environments are: ${names}`);
  }
  const foreign = hosts.find((host) => !known.hosts.some((pattern) => coversHost(pattern, host)));
  if (foreign === undefined) return;
  throw refusal("wrong_hosts", `${foreign} is no host of ${provider.id} (${environment}); seal it for the right host`);
}

function checkField(provider: Provider, name: string, secret: Secret, shapes: boolean): void {
  const field = provider.fields.get(name);
  if (field === undefined) return;
  const result = checkShape(shapes ? field : { ...field, shape: null }, secret);
  if (result.ok || !result.enforced) return;
  throw refusal("wrong_shape", `${provider.id} ${result.problem}`);
}

function refusal(code: SubmissionError["code"], message: string): SubmissionError {
  return new SubmissionError(code, message);
}
