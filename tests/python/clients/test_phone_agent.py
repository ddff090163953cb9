"""A phone agent's session, as Open-AutoGLM's client drives it: one screenshot a turn, taken out of the history again
after its step, answers read inline from `content` and parsed for an action."""

import base64
import json
import re
import struct
import zlib

import openai
import pytest
from conftest import Server, start_scripted, stop

STEPS = 20


def screen(step: int, width: int = 270, height: int = 600) -> str:
    """A PNG that no other step has, as a data URL."""
    row = b"\0" + bytes((x * 7 + step * 31) % 256 for x in range(width * 3))
    other = b"\0" + bytes((x * 3 + step * 17) % 256 for x in range(width * 3))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress(b"".join(row if (y // (step + 3)) % 2 else other for y in range(height)))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data += chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(data).decode()


def action_of(text: str) -> str:
    """The client's rules, from its documentation: finish(…), else do(…), else <answer>, else all of it."""
    for begin in ("finish(message=", "do(action="):
        if begin in text:
            return text[text.index(begin) :].split("</answer>")[0].strip()
    found = re.search(r"<answer>(.*?)(</answer>|$)", text, re.DOTALL)
    return (found.group(1) if found else text).strip()


def run_session(server: Server, model: str, answers: list[str] | None) -> list[dict]:
    """Plays all steps; returns the usage of each."""
    usages = []
    messages = [{"role": "system", "content": "Today is Thursday. You operate a phone.\n" + "Rules. " * 60}]
    with openai.OpenAI(base_url=server.base_url, api_key="EMPTY", timeout=60) as client:
        for step in range(STEPS):
            info = json.dumps({"current_app": f"App {step}"}, ensure_ascii=False)
            text = f"打开设置 step-{step:02d}\n\n{info}" if step == 0 else f"** Screen Info **\n\nstep-{step:02d} {info}"
            picture = {"type": "image_url", "image_url": {"url": screen(step)}}
            messages.append({"role": "user", "content": [picture, {"type": "text", "text": text}]})
            stream = client.chat.completions.create(
                model=model,
                messages=messages,
                max_tokens=40 if answers is None else 3000,
                temperature=0.0,
                top_p=0.85,
                frequency_penalty=0.2,
                stream=True,
                extra_body={},
                stream_options={"include_usage": True},
            )
            content = ""
            for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    content += chunk.choices[0].delta.content
                if chunk.usage:
                    usages.append(chunk.usage.model_dump())
            assert "<|" not in content
            if answers is not None:
                assert action_of(content) == answers[step]
            messages[-1]["content"] = [part for part in messages[-1]["content"] if part["type"] == "text"]
            thinking, action = content.split("<answer>")[0], action_of(content)
            thinking = thinking.replace("<think>", "").replace("</think>", "").strip()
            messages.append(
                {"role": "assistant", "content": f"<think>{thinking}</think><answer>{action}</answer>"}
            )
    return usages


def test_every_action_is_read(tmp_path, monkeypatch: pytest.MonkeyPatch):
    import conftest

    answers = [f'do(action="Tap", element=[{37 * step % 1000},{53 * step % 1000}])' for step in range(STEPS - 1)]
    answers.append('finish(message="完成了")')
    script = [
        {"when": f"step-{step:02d}", "text": f"<think>第{step}步</think><answer>{answers[step]}</answer>"}
        for step in reversed(range(STEPS))  # the newest step is the one that decides
    ]
    monkeypatch.setattr(conftest, "SCRIPT", script)
    server = start_scripted(tmp_path, "--served-model-name", "autoglm-phone-9b", "--max-model-len", "16384")
    try:
        run_session(server, "autoglm-phone-9b", answers)
    finally:
        stop(server)


def test_the_history_is_cached(phone: Server):
    """From one step to the next everything before the last picture's place is found in the prefix cache."""
    usages = run_session(phone, "autoglm-phone-9b", None)
    assert len(usages) == STEPS
    cached = [usage["prompt_tokens_details"]["cached_tokens"] for usage in usages]
    prompts = [usage["prompt_tokens"] - usage["prompt_tokens_details"]["image_tokens"] for usage in usages]
    assert all(usage["prompt_tokens_details"]["image_tokens"] > 0 for usage in usages)
    # At least the prompt before the last one, but for its last block and the text that stood behind its picture.
    for step in range(2, STEPS):
        assert cached[step] >= prompts[step - 2] - 64, (step, cached, prompts)
