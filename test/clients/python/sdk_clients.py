"""The OpenAI and Anthropic SDKs as a service uses them, with nothing but the environment to tell them where to go.

Reads from standard input a JSON object of variables for a second round. Prints one JSON object for each round.
"""

import asyncio
import json
import os
import sys

import anthropic
import openai

MESSAGES = [{"role": "user", "content": "grüße"}]
CHAT = {"model": "gpt-test", "messages": MESSAGES}
ASKED = {"model": "claude-test", "max_tokens": 64, "messages": MESSAGES}
FILE = ("notes.txt", b"text\r\n" * 20_000, "text/plain")


def failures(errors, call):
    found = []
    for status in (401, 429, 500):
        try:
            call(f"fails-{status}")
        except errors.APIStatusError as error:
            found.append([type(error).__name__, error.status_code, error.body])
    return found


def sync_openai():
    with openai.OpenAI(max_retries=0) as client:
        stream = client.chat.completions.create(**CHAT, stream=True)
        with client.chat.completions.stream(**CHAT) as helper:
            final = helper.get_final_completion()
        return {
            "models": [model.id for model in client.models.list()],
            "chat": client.chat.completions.create(**CHAT).choices[0].message.content,
            "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in stream),
            "helper": final.choices[0].message.content,
            "response": client.responses.create(model="gpt-test", input="grüße").output_text,
            "failures": failures(
                openai, lambda model: client.chat.completions.create(model=model, messages=MESSAGES)
            ),
            "file": client.files.create(file=FILE, purpose="assistants").id,
        }


async def async_openai():
    async with openai.AsyncOpenAI(max_retries=0) as client:
        chat = await client.chat.completions.create(**CHAT)
        stream = await client.responses.create(model="gpt-test", input="grüße", stream=True)
        deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        side_by_side = await asyncio.gather(*(client.models.list() for _ in range(3)))
        return {
            "chat": chat.choices[0].message.content,
            "streamed": "".join(deltas),
            "side by side": len(side_by_side),
        }


def sync_anthropic():
    with anthropic.Anthropic(max_retries=0) as client:
        with client.messages.stream(**ASKED) as stream:
            streamed = "".join(stream.text_stream)
        types = [event.type for event in client.messages.create(**ASKED, stream=True)]
        return {
            "message": client.messages.create(**ASKED).content[0].text,
            "streamed": streamed,
            "events": [types[0], types[-1]],
            "failures": failures(anthropic, lambda model: client.messages.create(**{**ASKED, "model": model})),
        }


async def async_anthropic():
    async with anthropic.AsyncAnthropic(max_retries=0) as client:
        message = await client.messages.create(**ASKED)
        async with client.messages.stream(**ASKED) as stream:
            final = await stream.get_final_message()
        return {"message": message.content[0].text, "streamed": final.content[0].text}


def one_round():
    return {
        "openai": sync_openai(),
        "async openai": asyncio.run(async_openai()),
        "anthropic": sync_anthropic(),
        "async anthropic": asyncio.run(async_anthropic()),
    }


first = one_round()
for name in list(os.environ):
    if name.lower() in ("http_proxy", "https_proxy") or name.endswith(("_CERT_FILE", "_CA_BUNDLE")):
        del os.environ[name]
os.environ.update(json.load(sys.stdin))
print(json.dumps([first, one_round()]))
