#!/usr/bin/env python3
"""A hundred picture turns against a running server: errors, and the slope of its resident memory after turn 20.

Two patterns:
  agents   each screenshot is dropped from the history after its step (phone agents)
  history  the whole conversation is sent again each turn, with small pictures; when the context is full, the server has
           to say context_length_exceeded, and the conversation starts anew

    glimpse serve --port 8000 --max-model-len 4096 --kv-cache-memory-bytes 1 --mm-processor-cache-gb 0 &

(Prefix and vision caches grow until their memory is used; with small ones the slope shows what is not cache.)
    scripts/memory_slope.py --port 8000 --pid $! --pattern agents

Only the standard library; pictures are PNG made here, a new one each turn.
"""

import argparse
import base64
import http.client
import json
import random
import struct
import sys
import zlib


def png(width: int, height: int, seed: int) -> bytes:
    """A screenshot-like picture: flat areas and some noise, different for each seed."""
    rng = random.Random(seed)
    rows = []
    for y in range(height):
        if y % 40 == 0:
            row = b"".join(bytes(rng.randrange(256) for _ in range(3)) * (width // 8 + 1) for _ in range(8))
        rows.append(b"\0" + row[: width * 3])
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(rows), 1)) + chunk(b"IEND", b"")


def rss_mb(pid: int) -> float:
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS")


def slope(points: list[tuple[int, float]]) -> float:
    n = len(points)
    mean_x = sum(x for x, _ in points) / n
    mean_y = sum(y for _, y in points) / n
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


class Chat:
    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)

    def ask(self, messages: list[dict], max_tokens: int) -> tuple[int, dict]:
        body = json.dumps({"messages": messages, "max_tokens": max_tokens, "temperature": 0})
        self.connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        response = self.connection.getresponse()
        return response.status, json.loads(response.read())


def turn(picture: bytes, text: str) -> dict:
    url = "data:image/png;base64," + base64.b64encode(picture).decode()
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--pattern", choices=["agents", "history"], default="agents")
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--width", type=int, help="default: 1080 (agents), 112 (history)")
    parser.add_argument("--height", type=int, help="default: 2400 (agents), 112 (history)")
    parser.add_argument("--max-tokens", type=int, default=16)
    args = parser.parse_args()
    agents = args.pattern == "agents"
    width = args.width or (1080 if agents else 112)
    height = args.height or (2400 if agents else 112)

    chat = Chat(args.port)
    messages: list[dict] = []
    errors = 0
    full = 0
    memory: list[tuple[int, float]] = []
    for i in range(args.turns):
        messages.append(turn(png(width, height, i), f"Step {i}: what is on the screen?"))
        status, answer = chat.ask(messages, args.max_tokens)
        if status == 400 and answer["error"]["code"] == "context_length_exceeded":
            full += 1
            messages = [messages[-1]]
            status, answer = chat.ask(messages, args.max_tokens)
        if status != 200:
            errors += 1
            print(f"turn {i}: status {status}: {answer}", file=sys.stderr)
            messages.pop()
            continue
        if agents:
            messages[-1] = {"role": "user", "content": [{"type": "text", "text": f"Step {i}: what is on the screen?"}]}
        messages.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"] or ""})
        memory.append((i, rss_mb(args.pid)))
    late = [point for point in memory if point[0] >= 20]
    print(f"{args.pattern}: {args.turns} turns of {width}x{height}, {errors} errors, context full {full} times; "
          f"RSS {memory[0][1]:.1f} MB -> {memory[-1][1]:.1f} MB, slope after turn 20: {slope(late):.3f} MB a turn")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
