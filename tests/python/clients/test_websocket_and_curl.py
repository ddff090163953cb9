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


def receive(socket, kind: str, name: str) -> dict:
    """The next frame of this kind for this id; others of the same id are kept out of the way."""
    while True:
        frame = json.loads(socket.recv(timeout=20))
        if frame.get("id") == name and frame["type"] == kind:
            return frame
        assert frame["type"] not in ("error", "image.failed"), frame


def test_websocket(scripted: Server):
    with connect(scripted.url.replace("http", "ws") + "/v1/chat/ws") as socket:
        assert json.loads(socket.recv(timeout=20))["models"] == ["scripted"]
        data = SAMPLE.read_bytes()
        socket.send(json.dumps({"type": "image", "id": "i", "size": len(data)}))
        for begin in range(0, len(data), 5000):
            socket.send(data[begin : begin + 5000])
        received = receive(socket, "image.received", "i")
        assert received["bytes"] == len(data) and received["image_tokens"] > 0
        receive(socket, "image.encoded", "i")
        content = [{"type": "file", "file": {"file_id": "i"}}, {"type": "text", "text": "chinese, pl"}]
        request = {"messages": [{"role": "user", "content": content}]}
        socket.send(json.dumps({"type": "draft", "id": "d", "request": request}))
        assert receive(socket, "draft.done", "d")["status"] == "computed"
        content[1]["text"] += "ease"
        socket.send(json.dumps({"type": "chat", "id": "c", "request": {**request, "stream": True}}))
        text = ""
        while True:
            frame = json.loads(socket.recv(timeout=20))
            if frame.get("id") != "c":
                continue
            if frame["type"] == "chat.done":
                break
            assert frame["type"] == "chat.chunk", frame
            for choice in frame["data"]["choices"]:
                text += choice["delta"].get("content", "")
            last = frame["data"]
        assert text == "图里有两只猫 🐈🐈。"
        assert last["latency"]["image_tokens"] > 0
        socket.send(json.dumps({"type": "chat", "id": "e", "request": {"messages": []}}))
        error = receive_error(socket, "e")
        assert error["status"] == 400 and error["error"]["message"]


def receive_error(socket, name: str) -> dict:
    while True:
        frame = json.loads(socket.recv(timeout=20))
        if frame.get("id") == name:
            assert frame["type"] == "error", frame
            return frame


def test_websocket_cancel(scripted: Server):
    with connect(scripted.url.replace("http", "ws") + "/v1/chat/ws") as socket:
        request = {"messages": [{"role": "user", "content": "never ends"}], "stream": True}
        socket.send(json.dumps({"type": "chat", "id": "c", "request": request}))
        receive(socket, "chat.chunk", "c")
        socket.send(json.dumps({"type": "cancel", "id": "c"}))
        assert receive(socket, "chat.done", "c")["cancelled"] is True
