"""langchain-openai's ChatOpenAI."""

import base64

import pytest
from conftest import SAMPLE, Server
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


@pytest.fixture()
def model(scripted: Server) -> ChatOpenAI:
    return ChatOpenAI(base_url=scripted.base_url, model="scripted", api_key="EMPTY", max_retries=0, timeout=20)


@tool
def get_weather(city: str, days: int = 1) -> str:
    """The weather of a city."""
    return f"sunny in {city} for {days}"


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def test_invoke(model: ChatOpenAI):
    answer = model.invoke([SystemMessage("Be kind."), HumanMessage("Hi")])
    assert answer.content == "Hello there, friend."
    assert answer.usage_metadata["total_tokens"] > 5
    assert answer.response_metadata["finish_reason"] == "stop"


def test_stream(model: ChatOpenAI):
    chunks = list(model.stream("chinese"))
    assert "".join(chunk.content for chunk in chunks) == "图里有两只猫 🐈🐈。"


def test_stream_usage(scripted: Server):
    model = ChatOpenAI(base_url=scripted.base_url, model="scripted", api_key="EMPTY", stream_usage=True)
    whole = None
    for chunk in model.stream("Hi"):
        whole = chunk if whole is None else whole + chunk
    assert whole.content == "Hello there, friend."
    assert whole.usage_metadata["output_tokens"] == model.invoke("Hi").usage_metadata["output_tokens"]


def test_async(model: ChatOpenAI):
    import asyncio

    async def run() -> str:
        return "".join([chunk.content async for chunk in model.astream("Hi")])

    assert asyncio.run(run()) == "Hello there, friend."


def test_bind_tools(model: ChatOpenAI):
    bound = model.bind_tools([get_weather])
    answer = bound.invoke("two calls")
    assert [(call["name"], call["args"]) for call in answer.tool_calls] == [
        ("get_weather", {"city": "Paris", "days": 3}),
        ("get_weather", {"city": 'New "York"'}),
    ]
    whole = None
    for chunk in bound.stream("two calls"):
        whole = chunk if whole is None else whole + chunk
    assert [call["args"] for call in whole.tool_calls] == [{"city": "Paris", "days": 3}, {"city": 'New "York"'}]
    assert whole.content == "I look."


@pytest.mark.parametrize(
    "method, question", [("function_calling", "call Person"), ("json_mode", "as a person"), ("json_schema", "as a person")]
)
def test_structured_output(model: ChatOpenAI, method: str, question: str):
    assert model.with_structured_output(Person, method=method).invoke(question) == Person(name="Ann", age=5)


def test_picture(model: ChatOpenAI):
    url = "data:image/png;base64," + base64.b64encode(SAMPLE.read_bytes()).decode()
    message = HumanMessage([{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What?"}])
    assert model.invoke([message]).content == "Hello there, friend."


def test_context_overflow(model: ChatOpenAI):
    with pytest.raises(Exception, match="maximum context length"):
        model.invoke("word " * 20000)


def test_the_published_line(phone: Server):
    """The deployment report's example, word for word but for the address."""
    model = ChatOpenAI(
        base_url=phone.base_url,
        model="autoglm-phone-9b",
        api_key="EMPTY",
        temperature=0.5,
        streaming=True,
        extra_body={"enable_thinking": True, "return_reasoning": True},
    )
    answer = model.invoke("你是谁?")
    assert isinstance(answer.content, str) and answer.content
    assert "<|" not in answer.content
