import type { Decision } from "../../policy/decide.ts";
import { ProxyError } from "./errors.ts";

const NEXT_STEP = "`sidekey policy explain <url>` shows the rules";

/** Says which rule said no, in words for the developer who reads the answer. */
export function denial(decision: Extract<Decision, { allow: false }>, client: string): ProxyError {
  return new ProxyError(decision.code, `${sentence(decision, client)}; ${NEXT_STEP}`, {
    reason: decision.reason,
    route: decision.route?.id ?? null,
  });
}

function sentence(decision: Extract<Decision, { allow: false }>, client: string): string {
  const route = decision.route ? `route ${decision.route.id}` : "the policy";
  switch (decision.reason) {
    case "host_not_in_policy":
      return "no route leads to this host";
    case "port_not_in_policy":
      return "no route leads to this port of the host";
    case "client_not_on_route":
      return `client ${client} is not on a route to this host`;
    case "method_not_on_route":
      return `${route} does not allow this method`;
    case "path_not_on_route":
      return `${route} does not allow this path`;
    case "path_ambiguous":
      return "the path can be read in two ways (dot segments, encoded slashes or backslashes)";
    case "trace_refused":
      return "TRACE would echo the key and is refused";
    default:
      return "the policy does not allow this request";
  }
}
