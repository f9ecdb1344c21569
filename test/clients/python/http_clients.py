"""Four HTTP libraries as a service uses them: through the proxy of the environment, and with a base URL.

Arguments: host, base URL of that provider, token. Prints one JSON object.
"""

import asyncio
import json
import sys

import aiohttp
import httpx
import requests

HOST, BASE_URL, TOKEN = sys.argv[1:]
QUOTE = "/stable/quote"
SYMBOL = {"symbol": "AAPL"}
# What each form is asked for: absolute form, CONNECT, base URL with the token as the key.
FORMS = {
    "plain": (f"http://{HOST}", {}),
    "secure": (f"https://{HOST}", {"apikey": "placeholder"}),
    "base": (BASE_URL, {"apikey": TOKEN}),
}
CONTENT = b"x" * 200_000


def price(rows):
    return [rows[0]["symbol"], rows[0]["price"]]


def parts():
    yield CONTENT[:70_000]
    yield CONTENT[70_000:]


async def async_parts():
    for part in parts():
        yield part


def with_requests(url, key):
    with requests.Session() as session:
        got = session.get(url + QUOTE, params={**SYMBOL, **key})
        sent = session.post(url + "/form", params=key, data=parts())
        return [got.status_code, price(got.json()), sent.json()["size"]]


def with_httpx(url, key):
    with httpx.Client() as client:
        got = client.get(url + QUOTE, params={**SYMBOL, **key})
        sent = client.post(url + "/form", params=key, content=parts())
        return [got.status_code, price(got.json()), sent.json()["size"]]


async def with_async_httpx(url, key):
    async with httpx.AsyncClient() as client:
        got = await client.get(url + QUOTE, params={**SYMBOL, **key})
        sent = await client.post(url + "/form", params=key, content=async_parts())
        return [got.status_code, price(got.json()), sent.json()["size"]]


async def with_aiohttp(url, key):
    async with aiohttp.ClientSession(trust_env=True) as session:
        async with session.get(url + QUOTE, params={**SYMBOL, **key}) as got:
            quote = price(await got.json())
        async with session.post(url + "/form", params=key, data=async_parts()) as sent:
            return [got.status, quote, (await sent.json())["size"]]


async def main():
    results = {}
    for form, (url, key) in FORMS.items():
        results[form] = {
            "requests": with_requests(url, key),
            "httpx": with_httpx(url, key),
            "httpx async": await with_async_httpx(url, key),
            "aiohttp": await with_aiohttp(url, key),
        }
    # As StockPulse does it: without trust_env aiohttp knows no proxy, and a base URL needs none.
    async with aiohttp.ClientSession() as session:
        async with session.get(BASE_URL + QUOTE, params={**SYMBOL, "apikey": TOKEN}) as got:
            results["aiohttp without trust_env"] = price(await got.json())
    print(json.dumps(results))


asyncio.run(main())
