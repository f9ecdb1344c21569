import { awsIam } from "./aws-iam.ts";
import { azureOpenai } from "./azure-openai.ts";
import { openai } from "./openai.ts";
import { openrouter } from "./openrouter.ts";
import { perplexity } from "./perplexity.ts";
import type { Rotator } from "./rotator.ts";
import { xai } from "./xai.ts";

/** Every rotator, by the id that a provider file names under `rotation`. */
export const ROTATORS: ReadonlyMap<string, Rotator> = new Map(
  [openai, openrouter, xai, perplexity, awsIam, azureOpenai].map((rotator) => [rotator.id, rotator]),
);
