"""Constrained answers of the real engine: whatever the built-in model would rather say, they parse and validate."""

import json
import re

import httpx
import jsonschema
import openai
import pytest
from conftest import WEATHER_TOOL, Server

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "mood": {"enum": ["good", "bad"]},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 5}, "maxItems": 2},
        "parent": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
    },
    "required": ["name", "age", "mood"],
    "additionalProperties": False,
}


@pytest.fixture()
def client(phone: Server):
    with openai.OpenAI(base_url=phone.base_url, api_key="EMPTY", timeout=120) as made:
        yield made


def endings(phone: Server) -> dict[str, int]:
    """A taste for tokens that end things: the built-in model never learned to write any of this, and left to itself
    it would write strings until max_tokens."""
    bias = {}
    for text in ('"', "}", "]", "</arg_value>", "</tool_call>"):
        tokens = httpx.post(phone.url + "/tokenize", json={"prompt": text}).json()["tokens"]
        assert len(tokens) == 1, text
        bias[str(tokens[0])] = 8
    return bias


def create(client: openai.OpenAI, seed: int, **options):
    return client.chat.completions.create(
        model="autoglm-phone-9b",
        messages=[{"role": "user", "content": "Tell me about a person."}],
        temperature=1.5,
        seed=seed,
        max_tokens=400,
        **options,
    ).choices[0]


@pytest.mark.parametrize("thinking", [True, False])
def test_json_schema(client: openai.OpenAI, thinking: bool):
    complete = 0
    for seed in range(8):
        choice = create(
            client,
            seed,
            response_format={"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA, "strict": True}},
            extra_body={"enable_thinking": thinking, "reasoning_format": "split"},
        )
        if choice.finish_reason != "stop":
            continue
        complete += 1
        jsonschema.validate(json.loads(choice.message.content), SCHEMA)
    assert complete >= 4


def test_json_object(client: openai.OpenAI, phone: Server):
    complete = 0
    bias = endings(phone)
    for seed in range(6):
        choice = create(
            client,
            seed,
            response_format={"type": "json_object"},
            logit_bias=bias,
            extra_body={"enable_thinking": False},
        )
        if choice.finish_reason == "stop":
            complete += 1
            assert isinstance(json.loads(choice.message.content), dict)
    assert complete >= 1


def test_regex_and_choice(client: openai.OpenAI):
    for seed in range(4):
        extra = {"enable_thinking": False, "guided_regex": "[A-Z]{3}-[0-9]{2}"}
        assert re.fullmatch("[A-Z]{3}-[0-9]{2}", create(client, seed, extra_body=extra).message.content.strip("\n"))
        extra = {"enable_thinking": False, "structured_outputs": {"choice": ["yes", "no"]}}
        assert create(client, seed, extra_body=extra).message.content.strip("\n") in ("yes", "no")


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_required_tools(client: openai.OpenAI, phone: Server, choice):
    calls = 0
    bias = endings(phone)
    for seed in range(6):
        answer = create(
            client,
            seed,
            tools=[WEATHER_TOOL],
            tool_choice=choice,
            logit_bias=bias,
            extra_body={"enable_thinking": False},
        )
        if answer.finish_reason != "tool_calls":
            assert answer.finish_reason == "length"
            continue
        for call in answer.message.tool_calls:
            calls += 1
            jsonschema.validate(json.loads(call.function.arguments), WEATHER_TOOL["function"]["parameters"])
    assert calls >= 1
