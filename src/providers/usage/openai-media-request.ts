import { tokensInBytes, unitsOf } from "./figure.ts";
import { countAt, EACH, memberSet, OTHER, sizeAt, valueAt, wordsOf } from "./member-set.ts";
import { modelName, reportedText } from "./reported.ts";
import { expectedInput, isTrue, jsonBody, mostInput, plainFacts, statedCount } from "./request-body.ts";
import type { BodyWindow, RequestFacts, RequestHead, Units } from "./usage.ts";

/** What requests for everything but text say of what they will use: embeddings, pictures, speech, transcripts. */

/** A second of speech as MP3, of which most recordings and answers are made, in bytes. */
const BYTES_PER_SECOND = 16_000;
/** Spoken characters in a second, and tokens of spoken audio in a second. */
const CHARACTERS_PER_SECOND = 15;
const AUDIO_TOKENS_PER_SECOND = 21;
/** Tokens of a square picture of 1024 points, by its quality. */
const IMAGE_TOKENS: Readonly<Record<string, number>> = { low: 272, medium: 1056, high: 4160 };
const NO_ATTACHMENTS = { count: 0, bytes: 0 };

const EMBEDDINGS = memberSet(
  { model: valueAt("model"), objects: countAt("input", EACH, OTHER), unknown: countAt(OTHER) },
  wordsOf("dimensions encoding_format user output_dimension output_dtype metadata provider"),
);

export function readEmbeddings(head: RequestHead, window: BodyWindow | null): RequestFacts {
  const body = jsonBody(head, window, EMBEDDINGS);
  if (body === null) return plainFacts("embeddings", { atMost: null });
  const { members, bytes, certain } = body;
  const isText = members.count("objects") === 0 && members.count("unknown") === 0;
  return plainFacts("embeddings", {
    model: modelName(reportedText(members.value("model"))),
    expected: unitsOf({ input: expectedInput(bytes, NO_ATTACHMENTS) }),
    atMost: certain && isText ? unitsOf({ input: mostInput(bytes, false) }) : null,
  });
}

const IMAGES = memberSet({
  model: valueAt("model"),
  stream: valueAt("stream"),
  n: valueAt("n"),
  quality: valueAt("quality"),
  prompt: sizeAt("prompt"),
});

/** Pictures are billed by tokens (GPT Image) or each; how many tokens is known when they are made. */
export function readImages(head: RequestHead, window: BodyWindow | null): RequestFacts {
  const body = jsonBody(head, window, IMAGES);
  if (body === null) return plainFacts("images", { atMost: null });
  const model = modelName(reportedText(body.members.value("model")));
  const count = statedCount(body.members.value("n")) || 1;
  const tokens = IMAGE_TOKENS[reportedText(body.members.value("quality")) ?? ""] ?? 1056;
  const byTokens = model?.includes("gpt-image") || model?.includes("chatgpt-image");
  return plainFacts("images", {
    model,
    stream: isTrue(body.members.value("stream")),
    expected: byTokens
      ? unitsOf({ input: tokensInBytes(body.members.size("prompt")), output_image: count * tokens })
      : unitsOf({ image: count }),
    atMost: null,
  });
}

const SPEECH = memberSet({ model: valueAt("model"), input: valueAt("input"), size: sizeAt("input") });

/** Speech is billed by characters (`tts-1`) or by tokens, of which an answer that is audio says nothing. */
export function readSpeech(head: RequestHead, window: BodyWindow | null): RequestFacts {
  const body = jsonBody(head, window, SPEECH);
  if (body === null) return plainFacts("speech", { atMost: null });
  const { members, certain } = body;
  const model = modelName(reportedText(members.value("model")));
  const text = reportedText(members.value("input"));
  const characters = text === null ? members.size("size") : [...text].length;
  const seconds = characters / CHARACTERS_PER_SECOND;
  const units: Units = isByCharacter(model)
    ? unitsOf({ character: characters })
    : unitsOf({ input: tokensInBytes(members.size("size")), output_audio: seconds * AUDIO_TOKENS_PER_SECOND });
  return plainFacts("speech", { model, expected: units, atMost: certain && isByCharacter(model) ? units : null });
}

export function isByCharacter(model: string | null): boolean {
  return model?.startsWith("tts-") ?? false;
}

/** A recording comes in a form that is not looked into; its length follows from its size. */
export function readTranscription(_head: RequestHead, window: BodyWindow | null): RequestFacts {
  const bytes = window?.length ?? window?.bytes.length ?? 0;
  return plainFacts("transcription", { expected: unitsOf({ second: bytes / BYTES_PER_SECOND }), atMost: null });
}

const MODERATION = memberSet({ model: valueAt("model") });

export function readModeration(head: RequestHead, window: BodyWindow | null): RequestFacts {
  const body = jsonBody(head, window, MODERATION);
  const model = body === null ? null : modelName(reportedText(body.members.value("model")));
  return plainFacts("moderation", { model, atMost: null });
}
