"""LlamaIndex's OpenAILike, as a chat model and, its default, as a text model."""

import asyncio

import pytest
from conftest import Server
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike


def make(server: Server, **options) -> OpenAILike:
    return OpenAILike(
        model="scripted", api_base=server.base_url, api_key="EMPTY", context_window=8192, max_retries=0, **options
    )


@pytest.mark.parametrize("is_chat", [False, True])
def test_complete_and_chat(scripted: Server, is_chat: bool):
    model = make(scripted, is_chat_model=is_chat, max_tokens=64)
    assert model.complete("Hi").text == "Hello there, friend."
    assert model.chat([ChatMessage("Hi")]).message.content == "Hello there, friend."
    assert list(model.stream_complete("Hi"))[-1].text == "Hello there, friend."
    assert list(model.stream_chat([ChatMessage("Hi")]))[-1].message.content == "Hello there, friend."


@pytest.mark.parametrize("is_chat", [False, True])
def test_async(scripted: Server, is_chat: bool):
    model = make(scripted, is_chat_model=is_chat, max_tokens=64)

    async def run() -> tuple[str, str]:
        whole = (await model.acomplete("Hi")).text
        last = ""
        async for piece in await model.astream_chat([ChatMessage("Hi")]):
            last = piece.message.content
        return whole, last

    assert asyncio.run(run()) == ("Hello there, friend.", "Hello there, friend.")


def test_tools(scripted: Server):
    def get_weather(city: str, days: int = 1) -> str:
        """The weather of a city."""
        return city

    model = make(scripted, is_chat_model=True, is_function_calling_model=True)
    tools = [FunctionTool.from_defaults(get_weather)]
    answer = model.chat_with_tools(tools, user_msg="two calls", allow_parallel_tool_calls=True)
    calls = model.get_tool_calls_from_response(answer)
    assert [call.tool_kwargs for call in calls] == [{"city": "Paris", "days": 3}, {"city": 'New "York"'}]
