/**
 * Whether two programs could read a path differently. The provider, or something before it, may decode, merge or
 * resolve what sidekey compares byte for byte; a path that could become another one by that is not decided on.
 */
export type PathReading = "plain" | "dot-segments" | "malformed" | "decodable";

/** What servers are known to split segments at, also after decoding. */
const SEPARATOR = /\/|\\|%2f|%5c/i;
/** Nothing encoded, no separator but `/`, no parameters: nearly every path, and then no segment is looked at. */
const OBVIOUS = /^\/[A-Za-z0-9._~!$&'()*+,=:@/-]*$/;
/** Encodings that turn into a separator, a dot, an end or another encoding when decoded once more; empty segments. */
const DECODABLE = /%(?:2f|5c|00|25)|\\|\/\//i;

/**
 * @param path as sent, without the query
 * @returns `malformed`: not a path at all; `dot-segments`: has `.` or `..`, raw, encoded or with a `;parameter`;
 * `decodable`: could be another path once decoded or merged; `plain`: has one reading.
 */
export function readPath(path: string): PathReading {
  if (OBVIOUS.test(path) && !path.includes("//") && !path.includes("/.")) return "plain";
  if (!/^\/[\x21-\x7e]*$/.test(path) || /[?#]/.test(path)) return "malformed";
  if (path.split(SEPARATOR).some(isDotSegment)) return "dot-segments";
  return DECODABLE.test(path) ? "decodable" : "plain";
}

function isDotSegment(segment: string): boolean {
  // Decoded twice, because %252e is a dot to a provider behind another proxy.
  const decoded = segment.replace(/%(?:25)*2e/gi, ".").replace(/%(?:25)*(?:3b|00)/gi, ";");
  const name = decoded.split(";", 1)[0];
  return name === "." || name === "..";
}
