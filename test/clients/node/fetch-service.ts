// A service that knows nothing of sidekey: the global fetch and node's own clients, as its environment says.
import { get } from "node:http";
import { get as secureGet } from "node:https";
import { text } from "node:stream/consumers";

const [host = ""] = process.argv.slice(2);

async function fetched(url: string, init?: RequestInit): Promise<string> {
  const response = await fetch(url, init);
  return `${response.status} ${await response.text()}`;
}

function gotten(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    (url.startsWith("https:") ? secureGet : get)(url, (response) => {
      text(response).then((body) => resolve(`${response.statusCode} ${body}`), reject);
    }).once("error", reject);
  });
}

const results = {
  secure: await fetched(`https://${host}/stable/quote?symbol=AAPL`),
  plain: await fetched(`http://${host}/stable/quote?symbol=MSFT`),
  posted: await fetched(`https://${host}/form`, { method: "POST", body: new URLSearchParams({ a: "1" }) }),
  several: await Promise.all(["A", "B", "C"].map((symbol) => fetched(`https://${host}/stable/quote?symbol=${symbol}`))),
  nodeSecure: await gotten(`https://${host}/stable/quote?symbol=NVDA`),
  nodePlain: await gotten(`http://${host}/stable/quote?symbol=TSLA`),
};
process.stdout.write(`${JSON.stringify(results)}\n`);
