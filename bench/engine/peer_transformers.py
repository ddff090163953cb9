"""Times transformers on the rows of gpu_bench: a config's shapes, random bfloat16 weights made on the device.

python3 bench/engine/peer_transformers.py --config configs/GLM-4.6V-Flash [--compile]

Times are medians of whole steps as the host sees them. Prefill and eager decode go through the whole model's forward
and end when the next token's id is on the host; the compiled decode step is the decoder, the head and the choice of the
id in one torch.compile over a static cache. Prints rows `| what | ms |`; bench/engine/peers.py joins them with others.
"""

import argparse
import json
import statistics
import sys
import time

import torch
import transformers
from transformers import DynamicCache, Glm4vConfig, Glm4vForConditionalGeneration, StaticCache

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def synchronize():
    if device.type == "cuda":
        torch.cuda.synchronize()


def median_ms(work, runs, warm_ups=2):
    times = []
    for i in range(warm_ups + runs):
        synchronize()
        begin = time.perf_counter()
        work()
        synchronize()
        if i >= warm_ups:
            times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times)


def row(what, ms):
    print(f"| {what} | {ms:.2f} ms |", flush=True)


def make_model(path):
    with open(f"{path}/config.json", encoding="utf-8") as file:
        config = Glm4vConfig(**json.load(file))
    config._attn_implementation = "sdpa"
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    with device:
        model = Glm4vForConditionalGeneration(config)
    torch.set_default_dtype(before)
    assert next(model.parameters()).dtype == torch.bfloat16
    return model.eval()


class Bench:
    def __init__(self, model, context, steps, runs):
        self.model, self.context, self.steps, self.runs = model, context, steps, runs

    def ids(self, batch, count):
        return torch.randint(0, 4000, (batch, count), device=device)

    def prefill(self, tokens):
        ids = self.ids(1, tokens)

        def work():
            out = self.model(input_ids=ids, use_cache=True, logits_to_keep=1)
            return int(out.logits[0, -1].argmax())

        row(f"prefill, {tokens} tokens", median_ms(work, self.runs))

    def decode(self, batch):
        cache = DynamicCache(config=self.model.config.text_config)
        out = self.model(
            input_ids=self.ids(batch, self.context), past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        ids = out.logits[:, -1:].argmax(-1)

        def work():
            nonlocal ids
            ids = self.model(input_ids=ids, past_key_values=cache, use_cache=True).logits[:, -1:].argmax(-1)
            return ids.tolist()

        row(f"decode, batch {batch}, context {self.context}", median_ms(work, self.steps))

    def decode_compiled(self, batch, mode):
        """The mode is torch.compile's."""
        decoder, head = self.model.model.language_model, self.model.lm_head
        cache = StaticCache(config=self.model.config.text_config, max_cache_len=self.context + self.steps + 16)

        def positions(first, count):
            return torch.arange(first, first + count, device=device).view(1, 1, -1).expand(4, batch, -1).contiguous()

        def step(ids, at):
            hidden = decoder(input_ids=ids, position_ids=at, past_key_values=cache, use_cache=True).last_hidden_state
            return head(hidden[:, -1:]).argmax(-1)

        ids = step(self.ids(batch, self.context), positions(0, self.context)).clone()
        begin = time.perf_counter()
        compiled = torch.compile(step, mode=mode)
        at = positions(self.context, 1)

        def work():
            nonlocal ids
            if device.type == "cuda":
                torch.compiler.cudagraph_mark_step_begin()
            ids = compiled(ids, at).clone()
            at.add_(1)
            return ids.tolist()

        for _ in range(3):
            work()
        print(f"compiled ({mode}) in {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
        row(f"decode, batch {batch}, context {self.context}", median_ms(work, self.steps))

    def vision(self, size):
        vision = self.model.config.vision_config
        width, height = (int(side) // vision.patch_size for side in size.split("x"))
        values = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        pixels = torch.rand(height * width, values, device=device, dtype=torch.bfloat16) * 2 - 1
        grid = torch.tensor([[1, height, width]], device=device)
        work = lambda: self.model.get_image_features(pixel_values=pixels, image_grid_thw=grid)
        row(f"vision tower, {size} ({height * width} patches)", median_ms(work, self.runs))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="folder with config.json")
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 8])
    parser.add_argument("--prompt", type=int, nargs="*", default=[512, 2755])
    parser.add_argument("--vision", nargs="*", default=["1932x1092", "1120x1120"], help="WIDTHxHEIGHT after resizing")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--compile", nargs="?", const="reduce-overhead", help="decode compiled, in that mode, instead")
    options = parser.parse_args()
    torch.manual_seed(0)
    begin = time.perf_counter()
    model = make_model(options.config)
    synchronize()
    count = sum(p.numel() for p in model.parameters()) / 1e9
    name = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU"
    print(
        f"transformers {transformers.__version__}, torch {torch.__version__}, {name}; {count:.2f} G weights "
        f"in {time.perf_counter() - begin:.0f} s",
        file=sys.stderr,
        flush=True,
    )
    bench = Bench(model, options.context, options.steps, options.runs)
    with torch.inference_mode():
        if options.compile:
            for batch in options.batch:
                bench.decode_compiled(batch, options.compile)
            return
        for batch in options.batch:
            bench.decode(batch)
        for tokens in options.prompt:
            bench.prefill(tokens)
        for size in options.vision:
            bench.vision(size)


if __name__ == "__main__":
    main()
