#!/usr/bin/env python3
"""Mixed load against a running server for a while: texts, pictures, uploads, drafts, streams that are left early,
broken requests. Prints counts by outcome and the slope of resident memory.

    glimpse serve --port 8000 &
    scripts/soak.py --port 8000 --pid $! --minutes 30
"""

import argparse
import collections
import http.client
import json
import random
import sys
import threading
import time

from memory_slope import png, rss_mb, slope, turn


class Load:
    def __init__(self, port: int, deadline: float) -> None:
        self.port = port
        self.deadline = deadline
        self.counts: collections.Counter[str] = collections.Counter()
        self.lock = threading.Lock()

    def request(self, method: str, path: str, body: bytes | str | None, kind: str = "application/json",
                leave_early: bool = False) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            connection.request(method, path, body, {"content-type": kind})
            response = connection.getresponse()
            data = response.read(200) if leave_early else response.read()
            return response.status, data
        finally:
            connection.close()

    def one(self, rng: random.Random) -> str:
        what = rng.choice(["text", "text", "stream", "picture", "upload", "draft", "leave", "broken", "metrics"])
        chat = {"messages": [{"role": "user", "content": f"Question {rng.randrange(1000)}, please answer."}],
                "max_tokens": rng.choice([8, 32, 64]), "stream": what in ("stream", "leave")}
        expected = 200
        if what == "picture":
            size = rng.choice([112, 224, 448])
            chat["messages"] = [turn(png(size, size, rng.randrange(50)), "What is in the picture?")]
        if what == "upload":
            status, _ = self.request("POST", "/v1/files", png(224, 224, rng.randrange(10**6)), "image/png")
        elif what == "draft":
            status, _ = self.request("POST", "/v1/chat/drafts", json.dumps(chat))
        elif what == "broken":
            body = json.dumps(chat)
            status, _ = self.request("POST", "/v1/chat/completions", body[: rng.randrange(1, len(body) - 1)])
            expected = 400
        elif what == "metrics":
            status, _ = self.request("GET", "/metrics", None)
        else:
            status, _ = self.request("POST", "/v1/chat/completions", json.dumps(chat), leave_early=what == "leave")
        return what if status == expected else f"{what}: status {status}"

    def work(self, seed: int) -> None:
        rng = random.Random(seed)
        while time.monotonic() < self.deadline:
            try:
                outcome = self.one(rng)
            except Exception as error:  # a failure of the connection is an outcome too
                outcome = f"exception {type(error).__name__}"
            with self.lock:
                self.counts[outcome] += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=8)
    args = parser.parse_args()
    start = time.monotonic()
    load = Load(args.port, start + args.minutes * 60)
    threads = [threading.Thread(target=load.work, args=(seed,)) for seed in range(args.clients)]
    for thread in threads:
        thread.start()
    memory: list[tuple[float, float]] = []
    while time.monotonic() < load.deadline:
        time.sleep(min(5, args.minutes * 6))
        memory.append(((time.monotonic() - start) / 60, rss_mb(args.pid)))
    for thread in threads:
        thread.join()
    for outcome, count in sorted(load.counts.items()):
        print(f"{count:7d}  {outcome}")
    late = memory[len(memory) // 4:]
    print(f"{args.minutes:g} minutes, {sum(load.counts.values())} requests; RSS {memory[0][1]:.1f} -> {memory[-1][1]:.1f} MB, "
          f"slope after the first quarter {slope(late):.3f} MB a minute")
    return 1 if any("status" in outcome or "exception" in outcome for outcome in load.counts) else 0


if __name__ == "__main__":
    sys.exit(main())
