import { writeSync } from "node:fs";
import { restore } from "./backup-fixture.ts";

/* A process that restores: `node backup-restorer.ts <backup> <directory>`, to be killed. It says so when it begins. */
const [path = "", directory = ""] = process.argv.slice(2);
writeSync(1, "begun\n");
await restore(path, directory, [{ kind: "file", path: `${directory}/root.key` }], { replace: true });
