"""Writes tests/golden/templates: conversations.json, and for each template the text that jinja2 renders of each.

    PYTHONPATH=python python -m reference.make_template_goldens

conversations.json: {name: {"messages", "tools"?, "add_generation_prompt", "enable_thinking"?}}, the variables of a
rendering. TEMPLATE.json: {name: text}, or null where jinja2 raises.
"""

import itertools
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from .templates import render

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "golden" / "templates"
TEMPLATES = {
    "mini": ROOT / "models" / "glimpse-mini" / "chat_template.jinja",
    "glm41v": FOLDER / "glm41v.jinja",
    "glm46v": FOLDER / "glm46v.jinja",
}
Json = dict[str, Any]
IMAGE = {"type": "image"}

# A tool definition with most of what JSON has; weather() is what the multi-turn conversations call.
RICH = {
    "type": "function",
    "function": {
        "name": "搜索",
        "description": "Sucht \"Bilder\"\n\tund mehr \\ <b>größer</b> & 'x' 🌍\u2028\x7f\x01",
        "parameters": {
            "type": "object",
            "properties": {"q": {"type": "string", "enum": ["a", "ß", ""]}, "n": {"type": "integer", "default": -3}},
            "required": [],
            "limits": [0.5, 1e-7, 1e16, 123456789012345680.0, -0.0, 3.0, 2**53, True, False, None, [], {}],
        },
    },
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def system(content: Any) -> Json:
    return {"role": "system", "content": content}


def user(*parts: Any) -> Json:
    """A string alone stays a string; "IMAGE" among several parts is a picture."""
    if len(parts) == 1 and isinstance(parts[0], str):
        return {"role": "user", "content": parts[0]}
    return {"role": "user", "content": [text(part) if isinstance(part, str) else part for part in parts]}


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def assistant(content: Any, **more: Any) -> Json:
    return {"role": "assistant", "content": content, **more}


def tool(content: Any, **more: Any) -> Json:
    return {"role": "tool", "content": content, **more}


def call(name: str, **arguments: Any) -> Json:
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


def dialogues() -> dict[str, list[Json]]:
    """Each is rendered with thinking unset, on and off."""
    return {
        "hi": [user("Hi")],
        "system": [system("SYS"), user("Hi")],
        "describe": [user(IMAGE, "Describe.")],
        "picture_last": [user("看这张图:", IMAGE)],
        "two_pictures": [user(IMAGE, IMAGE, "Which is larger? 哪个更大?")],
        "pictures_between": [user("A ", IMAGE, " or ", IMAGE, " or ", IMAGE, "?")],
        "turns": [user(IMAGE, "Q1"), assistant("Ans"), user("Q2")],
        "turns_with_pictures": [
            system("You see."), user(IMAGE, "Q1"), assistant("A1"), user("Q2", IMAGE), assistant("A2\n"), user("Q3"),
        ],
        "thoughts_in_text": [user(IMAGE, "Q1"), assistant("<think>\nth\n</think>\n<answer>A1</answer>"), user("Q2")],
        "thoughts_apart": [user("Q1"), assistant(" A1 ", reasoning_content="\n deep \n"), user("Q2")],
        "open_thought": [user("Q1"), assistant("never closed <think> A1"), user("Q2")],
        "answer_last": [user("Q1"), assistant("<think>why</think>because", metadata="m")],
        "answer_last_apart": [user("Q1"), assistant("", reasoning_content="R")],
        "nothink_already": [user("Q1/nothink"), assistant("A"), user(IMAGE, "Q2/nothink")],
        "unicode": [system("Ünïcödé 𝄞"), user("  家👨‍👩‍👧‍👦\u3000\u00a0"), assistant("\u2028é\n\n"), user("ﬁn\ttab\r\nreturn")],
        "special_words": [user("<|user|>\n<|image|>[gMASK]<sop>"), assistant("<|assistant|></think>x"), user("{{ 1 }}{% if %}")],
        "empty": [user(""), assistant(""), user(" ")],
        "lists_everywhere": [
            system([text("It's "), text('"quoted"')]), user(text("a"), text("b")), assistant([text("c\\"), text("d\u200b")]), user("e"),
        ],
        "calls": [
            user("Paris?"),
            assistant("ok", reasoning_content="R", tool_calls=[call("get_weather", city="Paris", n=2)]),
            tool("sunny"),
        ],
        "calls_twice": [
            user("Both?"),
            assistant("", tool_calls=[call("get_weather", city="巴黎"), call("f", a=[1, 2.5, None], b={"k": True}, c=False)]),
            tool("sunny"), tool([text("a picture: "), IMAGE]), tool(["x", "y"]),
            assistant("Both sunny."), user("Thanks"),
        ],
    }


def odd_ones() -> dict[str, Json]:
    """Variables that dialogues() does not reach, each rendered once."""
    image_url = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    return {
        "no_messages": {"messages": [], "add_generation_prompt": True},
        "no_prompt": {"messages": [user("Hi"), assistant("Hello")], "add_generation_prompt": False},
        "image_url": {"messages": [user(image_url, "What?")], "add_generation_prompt": True},
        "video": {"messages": [user({"type": "video"}, "What?")], "add_generation_prompt": True},
        "unknown_part": {"messages": [user({"type": "audio", "audio": 1}, "What?")], "add_generation_prompt": True},
        "unknown_role": {"messages": [{"role": "critic", "content": "x"}, user("y")], "add_generation_prompt": True},
        "no_content": {"messages": [user("Q"), assistant(None, tool_calls=[call("f")])], "add_generation_prompt": False},
        "missing_content": {"messages": [{"role": "user"}], "add_generation_prompt": True},
        "number_as_content": {"messages": [{"role": "user", "content": 3.0}], "add_generation_prompt": True},
        "rich_tool": {"messages": [user("Hi")], "tools": [RICH, WEATHER], "add_generation_prompt": True},
        "tools_and_system": {"messages": [system("S"), user("Hi")], "tools": [WEATHER], "add_generation_prompt": True},
        "no_tools": {"messages": [user("Hi")], "tools": None, "add_generation_prompt": True},
        "tool_first": {"messages": [tool("orphan"), tool("another"), user("Hi")], "add_generation_prompt": True},
        "long": {
            "messages": [m for i in range(40) for m in (user(IMAGE, f"q{i}"), assistant(f"a{i}"))] + [user("end")],
            "add_generation_prompt": True,
        },
    }


def conversations() -> dict[str, Json]:
    made: dict[str, Json] = {}
    for (name, messages), thinking in itertools.product(dialogues().items(), (None, True, False)):
        case: Json = {"messages": messages, "add_generation_prompt": True}
        if name.startswith("calls"):
            case["tools"] = [WEATHER]
        if thinking is not None:
            case["enable_thinking"] = thinking
        made[f"{name}{ {None: '', True: ':think', False: ':nothink'}[thinking] }"] = case
    return made | odd_ones()


def rendered(template: str, case: Json) -> str | None:
    try:
        return render(template, case)
    except Exception:
        return None


def check_protocol() -> None:
    """The byte checks of the published tools block (GLM-OCR's template), so that our fixture is the real protocol."""
    bare = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    case = {"messages": [user("Hi")], "tools": [bare], "add_generation_prompt": True}
    whole = render(TEMPLATES["glm46v"].read_text(), case)
    end = whole.index("</tool_call><|user|>") + len("</tool_call>")
    pieces = {
        whole[: whole.index("{")]: "156dde394569679caa3cec6455d9bc0f1038a990c41b1d6d6779d0b4df8708ce",
        whole[whole.index("\n</tools>") : end]: "6b556144e44ec3eafb05fc18c869191ff9680b2dc9e40afd3b067454bc806827",
        whole: "1a9419598f94b22c812743d018dbd81edc5fdb7e3ca943d7840bedf744ce9150",
    }
    for piece, digest in pieces.items():
        assert sha256(piece.encode()).hexdigest() == digest, piece


def main() -> None:
    check_protocol()
    cases = conversations()
    write("conversations", cases)
    for name, path in TEMPLATES.items():
        template = path.read_text()
        write(name, {case: rendered(template, variables) for case, variables in cases.items()})


def write(name: str, content: Json) -> None:
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in content.items())
    (FOLDER / f"{name}.json").write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
