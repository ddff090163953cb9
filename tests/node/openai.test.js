// openai-node against the real server over a scripted engine. The server's address comes in GLIMPSE_URL
// (tests/python/clients/test_node.py starts it); the answers are those of that folder's conftest.py.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.GLIMPSE_URL + "/v1", apiKey: "EMPTY", maxRetries: 0, timeout: 20_000 });
const ask = (text) => ({ model: "scripted", messages: [{ role: "user", content: text }] });
const tools = [
  {
    type: "function",
    function: {
      name: "get_weather",
      parameters: {
        type: "object",
        properties: { city: { type: "string" }, days: { type: "integer" } },
        required: ["city"],
      },
    },
  },
];

async function busy() {
  return (await (await fetch(process.env.GLIMPSE_URL + "/load")).json()).running;
}

test("create", async () => {
  const answer = await client.chat.completions.create(ask("Hi"));
  assert.equal(answer.choices[0].message.content, "Hello there, friend.");
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test("stream with usage", async () => {
  const stream = await client.chat.completions.create({
    ...ask("chinese"),
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, "图里有两只猫 🐈🐈。");
  assert.ok(usage.completion_tokens > 3);
});

test("tools, whole and streamed", async () => {
  const answer = await client.chat.completions.create({ ...ask("two calls"), tools });
  assert.equal(answer.choices[0].finish_reason, "tool_calls");
  const wanted = [{ city: "Paris", days: 3 }, { city: 'New "York"' }];
  assert.deepEqual(answer.choices[0].message.tool_calls.map((call) => JSON.parse(call.function.arguments)), wanted);
  const streamed = await client.chat.completions.stream({ ...ask("two calls"), tools }).finalChatCompletion();
  assert.deepEqual(streamed.choices[0].message.tool_calls.map((call) => JSON.parse(call.function.arguments)), wanted);
  assert.equal(streamed.choices[0].message.content, "I look.");
});

test("runTools goes on with the result", async () => {
  const runner = client.chat.completions.runTools({
    ...ask("call a tool"),
    tools: [
      {
        type: "function",
        function: {
          name: "get_weather",
          parameters: tools[0].function.parameters,
          parse: JSON.parse,
          function: ({ city }) => `WEATHER-RESULT ${city}`,
        },
      },
    ],
  });
  assert.equal(await runner.finalContent(), "It is sunny in Paris.");
});

test("parse", async () => {
  const answer = await client.chat.completions.parse({
    ...ask("as a person"),
    response_format: {
      type: "json_schema",
      json_schema: { name: "person", strict: true, schema: { type: "object", properties: { name: { type: "string" }, age: { type: "integer" } }, required: ["name", "age"] } },
    },
  });
  assert.equal(JSON.parse(answer.choices[0].message.content).name, "Ann");
});

test("choices and logprobs", async () => {
  const answer = await client.chat.completions.create({ ...ask("Hi"), n: 2, logprobs: true, top_logprobs: 1 });
  assert.equal(answer.choices.length, 2);
  const bytes = answer.choices[1].logprobs.content.flatMap((entry) => entry.bytes);
  assert.equal(Buffer.from(bytes).toString(), "Hello there, friend.");
});

test("breaking off a stream frees the server", async () => {
  const stream = await client.chat.completions.create({ ...ask("never ends"), stream: true });
  let seen = 0;
  for await (const chunk of stream) {
    if (chunk && ++seen === 5) break;
  }
  for (let i = 0; i < 100 && (await busy()) > 0; ++i) await new Promise((done) => setTimeout(done, 20));
  assert.equal(await busy(), 0);
});

test("errors", async () => {
  await assert.rejects(client.chat.completions.create({ ...ask("Hi"), model: "other" }), (error) => {
    return error instanceof OpenAI.NotFoundError && error.code === "model_not_found";
  });
  await assert.rejects(client.chat.completions.create({ ...ask("Hi"), n: 99 }), OpenAI.BadRequestError);
  await assert.rejects(
    client.chat.completions.create(ask("slow start"), { timeout: 300 }),
    OpenAI.APIConnectionTimeoutError,
  );
});

test("completions and models", async () => {
  const answer = await client.completions.create({ model: "scripted", prompt: "a", max_tokens: 50 });
  assert.equal(answer.choices[0].text, "Hello there, friend.");
  assert.deepEqual((await client.models.list()).data.map((model) => model.id), ["scripted"]);
});
