"""Joins the tables of gpu_bench and of others on what they measured, and runs llama.cpp's llama-bench for one of them.

python3 bench/engine/peers.py --ours out/bf16.md [--transformers eager.md --compiled compiled.md] [--llama-gguf FILE]

llama-bench is $GLIMPSE_LLAMA_BENCH. Rows are `| what | time | ...`; a time that nobody measured stays empty.
"""

import argparse
import json
import os
import subprocess


def read_rows(path):
    rows = {}
    if path and os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            for line in file:
                cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
                if len(cells) >= 2 and cells[1].endswith("ms"):
                    rows[cells[0]] = cells[1:]
    return rows


def llama_rows(gguf, prompts, context):
    """Milliseconds of gpu_bench's rows; the better of llama.cpp's default and of whole prompts in one batch."""

    def bench(*arguments):
        command = [os.environ["GLIMPSE_LLAMA_BENCH"], "-m", gguf, "-ngl", "99", "-fa", "1", "-o", "json", *arguments]
        print("#", " ".join(command[1:]), flush=True)
        try:
            return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=300).stdout)
        except (OSError, subprocess.SubprocessError) as error:
            print("#", error, flush=True)
            return []

    times = {}
    lengths = ",".join(map(str, prompts))
    for run in bench("-p", lengths, "-n", "0", "-b", "4096", "-ub", "512,4096", "-r", "5"):
        times.setdefault(f"prefill, {run['n_prompt']} tokens", []).append(run["avg_ns"] / 1e6)
    for run in bench("-p", "0", "-n", "64", "-d", str(context), "-r", "3"):
        times[f"decode, batch 1, context {context}"] = [run["avg_ns"] / 1e6 / run["n_gen"]]
    return {what: [f"{min(ms):.2f} ms"] for what, ms in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True)
    parser.add_argument("--transformers")
    parser.add_argument("--compiled")
    parser.add_argument("--llama-gguf")
    parser.add_argument("--prompt", type=int, nargs="*", default=[512, 2755])
    parser.add_argument("--context", type=int, default=512)
    options = parser.parse_args()
    columns = {"transformers": read_rows(options.transformers), "transformers, compiled": read_rows(options.compiled)}
    if options.llama_gguf:
        columns["llama.cpp"] = llama_rows(options.llama_gguf, options.prompt, options.context)
    columns = {name: rows for name, rows in columns.items() if rows}
    print("| | " + " | ".join(["Glimpse", "floor", "share", *columns]) + " |")
    print("| --- " * (4 + len(columns)) + "|")
    for what, cells in read_rows(options.ours).items():
        others = [rows.get(what, [""])[0] for rows in columns.values()]
        print(f"| {what} | " + " | ".join([*cells, *others]) + " |")


if __name__ == "__main__":
    main()
