"""The wire itself: errors and what they look like, connections that go on, bodies and clients that come in pieces."""

import http.client
import json
import random
import socket
import time

import pytest
from conftest import Server

CHAT = "/v1/chat/completions"
GOOD = {"model": "scripted", "messages": [{"role": "user", "content": "Hi"}]}


def post(connection: http.client.HTTPConnection, path: str, body: bytes | dict, **headers: str):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", path, data, {"content-type": "application/json", **headers})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


BAD = [
    (b"", 400, None),
    (b"{", 400, None),
    (b"[]", 400, None),
    (b'{"messages": ' + b"[" * 20000, 400, None),
    (b'{"messages": NaN}', 400, None),
    (b'{"temperature": 1e400, "messages": [{"role": "user", "content": "x"}]}', 400, None),
    (b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}', 400, None),
    ({"messages": []}, 400, "messages"),
    ({**GOOD, "model": "other"}, 404, "model"),
    ({**GOOD, "n": 0}, 400, "n"),
    ({**GOOD, "n": 10**30}, 400, "n"),
    ({**GOOD, "max_tokens": -1}, 400, "max_tokens"),
    ({**GOOD, "temperature": "hot"}, 400, "temperature"),
    ({**GOOD, "top_logprobs": 21}, 400, "top_logprobs"),
    ({**GOOD, "stop": ["x"] * 100}, 400, "stop"),
    ({**GOOD, "logit_bias": {"x": 1}}, 400, "logit_bias"),
    ({**GOOD, "seed": 2**80}, 400, "seed"),
    ({**GOOD, "tool_choice": {"type": "function", "function": {"name": "f"}}}, 400, "tool_choice"),
    ({**GOOD, "response_format": {"type": "json_schema"}}, 400, "response_format.json_schema.schema"),
    ({**GOOD, "guided_json": {"$ref": "#"}}, 400, "response_format"),
    ({**GOOD, "guided_json": {"anyOf": [{"type": "object", "properties": {str(i): {}}} for i in range(10000)]}}, 400, None),
    ({**GOOD, "guided_regex": "(a|b)*a(a|b){40}"}, 400, None),
    ({**GOOD, "guided_regex": "(a)\\1"}, 400, None),
    ({**GOOD, "chat_template_kwargs": {"messages": []}}, 400, "chat_template_kwargs"),
    ({"messages": [{"role": "user", "content": "word " * 20000}]}, 400, "messages"),
    *[
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}, None, None)
        for url in (
            "data:image/png;base64,",
            "data:image/png;base64,!!!!",
            "data:image/svg+xml;base64,PHN2Zy8+",
            "http://127.0.0.1/x.png",
            "http://169.254.169.254/x.png",
            "http://2130706433/x.png",
            "http://a\\@b/x.png",
            "file:///etc/passwd",
            "file-0000000000",
            "ftp://x/y",
        )
    ],
]


@pytest.mark.parametrize("index", range(len(BAD)))
def test_bad_requests_keep_the_connection(scripted: Server, index: int):
    body, status, param = BAD[index]
    connection = http.client.HTTPConnection("127.0.0.1", scripted.port, timeout=20)
    for stream in (False, True):
        if isinstance(body, dict):
            body = {**body, "stream": stream}
        got, headers, text = post(connection, CHAT, body)
        assert 400 <= got < 500 and (status is None or got == status), text
        assert headers["content-type"].startswith("application/json")
        error = json.loads(text)["error"]
        assert isinstance(error["message"], str) and error["message"] and isinstance(error["type"], str)
        assert isinstance(error["code"], (str, int))
        assert param is None or error["param"] == param, text
        assert "/work" not in error["message"] and "0x" not in error["message"]
    before = connection.sock
    got, _, text = post(connection, CHAT, GOOD)
    assert got == 200 and json.loads(text)["choices"][0]["message"]["content"] == "Hello there, friend."
    assert connection.sock is before, "the connection stayed open"
    connection.close()


@pytest.mark.parametrize(
    "method, path, status",
    [("GET", CHAT, 405), ("POST", "/v1/nothing", 404), ("GET", "/v1/models/none", 404), ("DELETE", "/v1/models", 405)],
)
def test_routes(scripted: Server, method: str, path: str, status: int):
    connection = http.client.HTTPConnection("127.0.0.1", scripted.port, timeout=20)
    connection.request(method, path, b"{}" if method == "POST" else None, {"content-type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == status and json.loads(answer.read())["error"]["message"]


def test_content_type(scripted: Server):
    connection = http.client.HTTPConnection("127.0.0.1", scripted.port, timeout=20)
    connection.request("POST", CHAT, json.dumps(GOOD), {"content-type": "text/html"})
    answer = connection.getresponse()
    assert answer.status == 415 and json.loads(answer.read())["error"]["message"]


@pytest.mark.parametrize(
    "head, status",
    [
        (f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\r\n", 411),
        (f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n", 413),
        (f"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-long: {'a' * 70000}\r\n\r\n", 431),
        ("NONSENSE\r\n\r\n", 400),
    ],
)
def test_heads(scripted: Server, head: str, status: int):
    with socket.create_connection(("127.0.0.1", scripted.port), 20) as sock:
        sock.sendall(head.encode())
        sock.shutdown(socket.SHUT_WR)
        answer = read_all(sock)
    assert answer.split(b" ")[1] == str(status).encode(), answer[:200]
    body = answer.split(b"\r\n\r\n", 1)[1]
    assert json.loads(body)["error"]["message"] and b"content-type: application/json" in answer.lower()


def raw_request(body: bytes, host: str = "x") -> bytes:
    head = f"POST {CHAT} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"connection: close\r\n\r\n" + body


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def test_bodies_in_pieces(scripted: Server):
    generator = random.Random(1)
    request = raw_request(json.dumps({**GOOD, "temperature": 0}).encode())
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", scripted.port), 20) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            at = 0
            while at < len(request):
                size = generator.choice((1, 2, 7, 50))
                sock.sendall(request[at : at + size])
                at += size
                if generator.random() < 0.2:
                    time.sleep(0.001)
            answer = read_all(sock)
        assert answer.startswith(b"HTTP/1.1 200") and b"Hello there, friend." in answer


def test_bodies_cut_off(scripted: Server):
    request = raw_request(json.dumps(GOOD).encode())
    for cut in range(0, len(request), 11):
        with socket.create_connection(("127.0.0.1", scripted.port), 20) as sock:
            sock.sendall(request[:cut])
    connection = http.client.HTTPConnection("127.0.0.1", scripted.port, timeout=20)
    assert post(connection, CHAT, GOOD)[0] == 200


def test_clients_that_leave(scripted: Server):
    generator = random.Random(2)
    body = {**GOOD, "messages": [{"role": "user", "content": "never ends"}], "stream": True}
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", scripted.port), 20) as sock:
            sock.sendall(raw_request(json.dumps(body).encode()))
            wanted = generator.randrange(0, 4000)
            while wanted > 0:
                wanted -= len(sock.recv(min(wanted, 500)))
    connection = http.client.HTTPConnection("127.0.0.1", scripted.port, timeout=20)
    for _ in range(200):
        connection.request("GET", "/load")
        load = json.loads(connection.getresponse().read())
        if load["running"] == load["waiting"] == 0:
            break
        time.sleep(0.02)
    assert load["running"] == 0 and load["waiting"] == 0
    assert post(connection, CHAT, GOOD)[0] == 200


def test_legal_oddities(scripted: Server):
    connection = http.client.HTTPConnection("127.0.0.1", scripted.port, timeout=20)
    for fields in (
        {"messages": [{"role": "user", "content": "<|image|><|user|></think>[gMASK]"}]},
        {"stop": None, "logprobs": None, "tools": None, "n": None, "unknown": {"a": [1]}, "tools": []},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, "there"]}]},
        {"messages": [{"role": "system", "content": []}, {"role": "user", "content": ""}]},
    ):
        status, _, text = post(connection, CHAT, {**GOOD, **fields})
        assert status == 200, text


def test_every_event_is_one_line(scripted: Server):
    connection = http.client.HTTPConnection("127.0.0.1", scripted.port, timeout=20)
    body = {**GOOD, "stream": True, "stream_options": {"include_usage": True}}
    status, headers, text = post(connection, CHAT, body)
    assert status == 200 and headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-cache" and headers["x-request-id"]
    events = text.decode().split("\n\n")
    assert events[-1] == "" and events[-2] == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2] if not event.startswith(":")]
    assert all(event.startswith("data: ") and "\n" not in event for event in events[:-1] if not event.startswith(":"))
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert all(isinstance(chunk["choices"], list) and "error" not in chunk for chunk in chunks)
    assert chunks[-1]["usage"]["total_tokens"] > 0 and chunks[-1]["latency"]["spans"]
