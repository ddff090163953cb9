"""A WebSocket client, and curl as people type it."""

import json
import subprocess

from conftest import SAMPLE, Server
from websockets.sync.client import connect


def curl(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["curl", "-sS", "--max-time", "20", *arguments], capture_output=True, text=True, check=True)


BODY = json.dumps({"model": "scripted", "messages": [{"role": "user", "content": "chinese"}]})


def test_curl(scripted: Server):
    answer = curl(scripted.base_url + "/chat/completions", "-H", "Content-Type: application/json", "-d", BODY)
    assert json.loads(answer.stdout)["choices"][0]["message"]["content"] == "图里有两只猫 🐈🐈。"


def test_curl_stream(scripted: Server):
    body = json.dumps({**json.loads(BODY), "stream": True})
    answer = curl("-N", scripted.base_url + "/chat/completions", "-H", "Content-Type: application/json", "-d", body)
    assert answer.stdout.startswith("data: {") and answer.stdout.endswith("data: [DONE]\n\n")


def test_curl_upload(scripted: Server):
    uploaded = json.loads(
        curl(scripted.base_url + "/files", "-F", f"file=@{SAMPLE}", "-F", "purpose=vision").stdout
    )
    assert uploaded["id"].startswith("file-") and uploaded["bytes"] == SAMPLE.stat().st_size
    content = [{"type": "image_url", "image_url": {"url": uploaded["id"]}}, {"type": "text", "text": "What?"}]
    body = json.dumps({"messages": [{"role": "user", "content": content}]})
    answer = curl(scripted.base_url + "/chat/completions", "-H", "Content-Type: application/json", "-d", body)
    assert json.loads(answer.stdout)["usage"]["prompt_tokens_details"]["image_tokens"] > 0


def test_curl_health(scripted: Server):
    assert json.loads(curl(scripted.url + "/healthz").stdout) == {"status": "ok"}
