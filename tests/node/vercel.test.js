// Vercel's AI SDK with its openai-compatible provider, which checks every chunk against a schema.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, stepCountIs, streamObject, streamText, tool } from "ai";
import { z } from "zod";

const provider = createOpenAICompatible({
  name: "glimpse",
  baseURL: process.env.GLIMPSE_URL + "/v1",
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const model = provider("scripted");
const person = z.object({ name: z.string(), age: z.number() });
const weather = tool({
  description: "The weather of a city",
  inputSchema: z.object({ city: z.string(), days: z.number().optional() }),
  execute: async ({ city }) => `WEATHER-RESULT ${city}`,
});

test("generateText", async () => {
  const answer = await generateText({ model, prompt: "think first", maxRetries: 0 });
  assert.equal(answer.text, "42");
  assert.equal(answer.reasoningText, "Let me look.");
  assert.equal(answer.finishReason, "stop");
  assert.ok(answer.usage.outputTokens > 3);
});

test("streamText", async () => {
  const answer = streamText({ model, prompt: "chinese", maxRetries: 0 });
  let text = "";
  for await (const piece of answer.textStream) text += piece;
  assert.equal(text, "图里有两只猫 🐈🐈。");
  assert.equal(await answer.finishReason, "stop");
  assert.ok((await answer.usage).totalTokens > 5);
});

test("tools, several steps", async () => {
  for (const prompt of ["call a tool", "two calls"]) {
    const answer = await generateText({ model, prompt, tools: { get_weather: weather }, stopWhen: stepCountIs(2), maxRetries: 0 });
    assert.equal(answer.text, "It is sunny in Paris.");
    const streamed = streamText({ model, prompt, tools: { get_weather: weather }, stopWhen: stepCountIs(2), maxRetries: 0 });
    let text = "";
    for await (const piece of streamed.textStream) text += piece;
    assert.ok(text.endsWith("It is sunny in Paris."));
  }
});

test("objects", async () => {
  const answer = await generateObject({ model, schema: person, prompt: "as a person", maxRetries: 0 });
  assert.deepEqual(answer.object, { name: "Ann", age: 5 });
  const streamed = streamObject({ model, schema: person, prompt: "as a person", maxRetries: 0 });
  for await (const part of streamed.partialObjectStream) assert.equal(typeof part, "object");
  assert.deepEqual(await streamed.object, { name: "Ann", age: 5 });
});

test("picture", async () => {
  const image = readFileSync(new URL("../../models/glimpse-mini/samples/00_name.png", import.meta.url));
  const content = [{ type: "text", text: "What?" }, { type: "image", image }];
  const answer = await generateText({ model, messages: [{ role: "user", content }], maxRetries: 0 });
  assert.equal(answer.text, "Hello there, friend.");
});
