import { z } from "zod";
import { policyFile } from "./schema.ts";

/** JSON Schema (2020-12) of policy.yaml for editors; what it cannot say, such as names that must exist, is left to the load. */
export function policyJsonSchema(): object {
  return {
    ...z.toJSONSchema(policyFile, { io: "input", target: "draft-2020-12" }),
    title: "sidekey policy",
  };
}
