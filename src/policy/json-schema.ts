import { z } from "zod";
import { pricesFile } from "./price-schema.ts";
import { policyFile } from "./schema.ts";

/** JSON Schema (2020-12) of policy.yaml for editors; what it cannot say, such as names that must exist, is left to the load. */
export function policyJsonSchema(): object {
  return { ...z.toJSONSchema(policyFile, { io: "input", target: "draft-2020-12" }), title: "sidekey policy" };
}

/** As `policyJsonSchema`, of prices.yaml. */
export function pricesJsonSchema(): object {
  const schema = z.toJSONSchema(pricesFile, { io: "input", target: "draft-2020-12", reused: "ref" });
  return { ...schema, title: "sidekey prices" };
}
