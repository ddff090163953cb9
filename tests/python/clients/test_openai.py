"""openai-python, as applications use it."""

import base64
import json

import httpx
import openai
import pytest
from conftest import SAMPLE, WEATHER_TOOL, Server, start_scripted, stop
from pydantic import BaseModel


@pytest.fixture()
def client(scripted: Server):
    with openai.OpenAI(base_url=scripted.base_url, api_key="EMPTY", max_retries=0, timeout=20) as made:
        yield made


def ask(text: str) -> list[dict]:
    return [{"role": "user", "content": text}]


def test_create(client: openai.OpenAI):
    answer = client.chat.completions.create(model="scripted", messages=ask("Hi"))
    choice = answer.choices[0]
    assert choice.message.content == "Hello there, friend."
    assert choice.message.role == "assistant" and choice.finish_reason == "stop"
    assert choice.message.tool_calls is None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.completion_tokens_details.reasoning_tokens == 0
    assert answer.model == "scripted" and answer.id.startswith("chatcmpl-")
    assert answer.latency["total_ms"] > 0  # our account comes along as an extra field


def test_stream(client: openai.OpenAI):
    chunks = list(client.chat.completions.create(model="scripted", messages=ask("chinese"), stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "图里有两只猫 🐈🐈。"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[0].choices[0].delta.content
    assert all(chunk.usage is None for chunk in chunks)


def test_stream_with_usage(client: openai.OpenAI):
    chunks = list(
        client.chat.completions.create(
            model="scripted", messages=ask("Hi"), stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 3
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_long_stream(client: openai.OpenAI):
    chunks = client.chat.completions.create(model="scripted", messages=ask("four thousand"), stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == "many words here " * 1334


def test_reasoning_comes_apart(client: openai.OpenAI):
    answer = client.chat.completions.create(model="scripted", messages=ask("think first"))
    assert answer.choices[0].message.content == "42"
    assert answer.choices[0].message.reasoning_content == answer.choices[0].message.reasoning == "Let me look."
    assert answer.usage.completion_tokens_details.reasoning_tokens > 2
    inline = client.chat.completions.create(
        model="scripted", messages=ask("think first"), extra_body={"reasoning_format": "inline"}
    )
    assert "<think>\nLet me look.\n</think>\n42" in inline.choices[0].message.content
    kept = client.chat.completions.create(
        model="scripted", messages=ask("think first"), extra_body={"skip_special_tokens": False}
    )
    assert kept.choices[0].message.content == "<|begin_of_box|>42<|end_of_box|>"


def test_tools(client: openai.OpenAI):
    answer = client.chat.completions.create(model="scripted", messages=ask("two calls"), tools=[WEATHER_TOOL])
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls" and message.content == "I look."
    assert [json.loads(call.function.arguments) for call in message.tool_calls] == [
        {"city": "Paris", "days": 3},
        {"city": 'New "York"'},
    ]
    # Its own answer goes back into the history with the result.
    history = ask("call a tool")
    first = client.chat.completions.create(model="scripted", messages=history, tools=[WEATHER_TOOL])
    history.append(first.choices[0].message.model_dump(exclude_none=True))
    history.append(
        {"role": "tool", "tool_call_id": first.choices[0].message.tool_calls[0].id, "content": "WEATHER-RESULT: sun"}
    )
    last = client.chat.completions.create(model="scripted", messages=history, tools=[WEATHER_TOOL])
    assert last.choices[0].message.content == "It is sunny in Paris."


def test_streamed_tools(client: openai.OpenAI):
    with client.chat.completions.stream(model="scripted", messages=ask("two calls"), tools=[WEATHER_TOOL]) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert [json.loads(call.function.arguments) for call in calls] == [
        {"city": "Paris", "days": 3},
        {"city": 'New "York"'},
    ]
    assert len({call.id for call in calls}) == 2


class Person(BaseModel):
    name: str
    age: int


def test_parse(client: openai.OpenAI):
    answer = client.chat.completions.parse(model="scripted", messages=ask("as a person"), response_format=Person)
    assert answer.choices[0].message.parsed == Person(name="Ann", age=5)
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model="scripted", messages=ask("too short"), response_format=Person)


def test_choices_and_logprobs(client: openai.OpenAI):
    answer = client.chat.completions.create(
        model="scripted", messages=ask("Hi"), n=2, logprobs=True, top_logprobs=2, temperature=0.5
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    for choice in answer.choices:
        entries = choice.logprobs.content
        assert b"".join(bytes(entry.bytes) for entry in entries).decode() == choice.message.content
        assert all(entry.logprob <= 0 for entry in entries)


def test_picture(client: openai.OpenAI):
    data = base64.b64encode(SAMPLE.read_bytes()).decode()
    content = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + data, "detail": "low"}},
        {"type": "text", "text": "What?"},
    ]
    answer = client.chat.completions.create(model="scripted", messages=[{"role": "user", "content": content}])
    assert answer.usage.prompt_tokens_details.image_tokens > 0


def test_completions(client: openai.OpenAI):
    answer = client.completions.create(model="scripted", prompt=["a", "b"], max_tokens=50, logprobs=1)
    assert [choice.text for choice in answer.choices] == ["Hello there, friend."] * 2
    assert len(answer.choices[0].logprobs.tokens) > 2
    chunks = list(client.completions.create(model="scripted", prompt="a", max_tokens=50, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "Hello there, friend."


def test_models(client: openai.OpenAI):
    assert [model.id for model in client.models.list()] == ["scripted"]
    assert client.models.retrieve("scripted").id == "scripted"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_errors(client: openai.OpenAI):
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-4o", messages=ask("Hi"))
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(model="scripted", messages=ask("word " * 20000))
    assert long.value.code == "context_length_exceeded" and "maximum context length is 8192" in str(long.value)
    with pytest.raises(openai.BadRequestError) as picture:
        bad = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
        client.chat.completions.create(model="scripted", messages=[{"role": "user", "content": [bad]}])
    assert picture.value.code == "invalid_image"
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="scripted", messages=ask("must fail"))
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="scripted", messages=ask("must fail"), stream=True))


def test_time_out(client: openai.OpenAI):
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).chat.completions.create(model="scripted", messages=ask("slow start"))


def test_leaving_a_stream_early_frees_the_server(client: openai.OpenAI, scripted: Server):
    for _ in range(3):
        stream = client.chat.completions.create(model="scripted", messages=ask("never ends"), stream=True)
        for number, _chunk in enumerate(stream):
            if number == 5:
                break
        stream.close()
    for _ in range(100):
        load = httpx.get(scripted.url + "/load").json()
        if load["running"] == 0:
            break
    assert load["running"] == 0


def test_retry_after(tmp_path):
    server = start_scripted(tmp_path, "--rate-limit", "2")
    try:
        with openai.OpenAI(base_url=server.base_url, api_key="EMPTY", max_retries=0) as plain:
            codes = []
            for _ in range(4):
                try:
                    plain.chat.completions.create(model="scripted", messages=ask("Hi"))
                    codes.append(200)
                except openai.RateLimitError as error:
                    codes.append(429)
                    assert float(error.response.headers["retry-after"]) > 0
        assert 429 in codes and codes[0] == 200
    finally:
        stop(server)


def test_retries_after_the_time_that_the_server_names(tmp_path):
    server = start_scripted(tmp_path, "--rate-limit", "60")  # six at once, then one a second
    try:
        with openai.OpenAI(base_url=server.base_url, api_key="EMPTY", max_retries=3) as patient:
            for _ in range(8):
                assert patient.chat.completions.create(model="scripted", messages=ask("Hi")).choices
    finally:
        stop(server)


@pytest.mark.parametrize("key", [None, "wrong", "secret"])
def test_keys(tmp_path, key):
    server = start_scripted(tmp_path, "--api-key", "secret")
    try:
        with openai.OpenAI(base_url=server.base_url, api_key=key or "EMPTY", max_retries=0) as client:
            if key == "secret":
                assert client.chat.completions.create(model="scripted", messages=ask("Hi")).choices
            else:
                with pytest.raises(openai.AuthenticationError):
                    client.chat.completions.create(model="scripted", messages=ask("Hi"))
    finally:
        stop(server)
