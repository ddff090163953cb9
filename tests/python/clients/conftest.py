"""Servers for the client tests: the real server over a scripted engine (answers given), and `glimpse serve` itself."""

import json
import os
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BUILD = Path(os.environ.get("GLIMPSE_BUILD", ROOT / "build" / "release"))

# What the scripted engine answers when the prompt contains a text; the first that fits.
SCRIPT = [
    {"when": "WEATHER-RESULT", "text": "It is sunny in Paris."},
    {
        "when": "two calls",
        "text": "<think>Both.</think>\nI look.\n"
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n<arg_key>days</arg_key>\n"
        "<arg_value>3</arg_value>\n</tool_call>\n<tool_call>get_weather\n<arg_key>city</arg_key>\n"
        '<arg_value>New "York"</arg_value>\n</tool_call>',
    },
    {
        "when": "call a tool",
        "text": "\n<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n</tool_call>",
    },
    {"when": "as a person", "text": '\n{"name": "Ann", "age": 5}'},
    {
        "when": "call Person",
        "text": "<tool_call>Person\n<arg_key>name</arg_key>\n<arg_value>Ann</arg_value>\n<arg_key>age</arg_key>\n"
        "<arg_value>5</arg_value>\n</tool_call>",
    },
    {"when": "think first", "text": "\n<think>\nLet me look.\n</think>\n<|begin_of_box|>42<|end_of_box|>"},
    {"when": "never ends", "text": "word ", "repeat": 4000, "per_token_ms": 2},
    {"when": "four thousand", "text": "many words here ", "repeat": 1334},
    {"when": "slow start", "text": "late", "first_ms": 3000},
    {"when": "too short", "text": "cut off he", "finish": "length"},
    {"when": "must fail", "text": "x", "finish": "failed"},
    {"when": "chinese", "text": "\n图里有两只猫 🐈🐈。"},
    {"text": "Hello there, friend."},
]


@dataclass
class Server:
    url: str
    process: subprocess.Popen

    @property
    def base_url(self) -> str:
        return self.url + "/v1"

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])


def _free_port() -> int:
    # 0 would do for one server; a fixed one lets a test start a server where there was one before.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_scripted(folder: Path, *options: str) -> Server:
    script = folder / "script.json"
    script.write_text(json.dumps(SCRIPT), encoding="utf-8")
    command = [BUILD / "tests" / "server" / "scripted_server", "--script", script, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    assert line.startswith("listening on "), line
    threading.Thread(target=process.stdout.read, daemon=True).start()
    return Server(line.split()[-1], process)


def stop(server: Server) -> None:
    server.process.terminate()
    try:
        assert server.process.wait(20) == 0
    except subprocess.TimeoutExpired:
        server.process.kill()
        raise


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_scripted(
        tmp_path_factory.mktemp("scripted"), "--served-model-name", "scripted", "--max-model-len", "8192"
    )
    yield server
    stop(server)


@pytest.fixture(scope="session")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`glimpse serve` with the built-in model under the name that AutoGLM's clients ask for."""
    port = _free_port()
    log = open(tmp_path_factory.mktemp("phone") / "log", "w", encoding="utf-8")
    command = [BUILD / "src" / "cli" / "glimpse", "serve", "--port", str(port), "--host", "127.0.0.1"]
    command += ["--served-model-name", "autoglm-phone-9b"]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            with urllib.request.urlopen(url + "/ready", timeout=5) as answer:
                if answer.status == 200:
                    break
        except OSError:
            assert process.poll() is None, Path(log.name).read_text(encoding="utf-8")
            time.sleep(0.1)
    server = Server(url, process)
    yield server
    stop(server)
    log.close()


WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}

SAMPLE = ROOT / "models" / "glimpse-mini" / "samples" / "00_name.png"
