"""transformers behind the batch protocol of evaluate.py (not --teacher-forced): the yardstick and a stand-in.

--quantization rounds every linear layer's weights to nearest: int8 per output row, int4 in groups.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from PIL import Image
from reference.model import Prompt
from reference.oracle import answer, load_published
from torch import nn
from transformers import AutoProcessor


def round_weights(model: nn.Module, bits: int, group: int | None) -> None:
    """Symmetric per row for 8 bits, with a zero point per group for 4; a layer narrower than a group is one group."""
    for module in model.modules():
        if not isinstance(module, nn.Linear):
            continue
        weight = module.weight.data
        width = weight.shape[1]
        x = weight.float().view(weight.shape[0], -1, group if group and width % group == 0 else width)
        if bits == 8:
            scale = x.abs().amax(-1, keepdim=True).clamp_min(1e-8) / 127
            x = (x / scale).round() * scale
        else:
            low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
            scale = ((high - low) / 15).clamp_min(1e-8)
            zero = (-low / scale).round()
            x = ((x / scale + zero).round().clamp(0, 15) - zero) * scale
        module.weight.data = x.reshape(weight.shape).to(weight.dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--batch", type=Path, required=True)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--quantization", choices=("int8", "int4"))
    parser.add_argument("--group", type=int, default=32)
    parser.add_argument("--max-tokens", type=int, default=200)
    args = parser.parse_args()
    model = load_published(args.model, getattr(torch, args.dtype))
    if args.quantization:
        round_weights(model, int(args.quantization[3:]), args.group if args.quantization == "int4" else None)
    processor = AutoProcessor.from_pretrained(args.model)
    for request in map(json.loads, args.batch.read_text().splitlines()):
        content = [{"type": "image"} for _ in request["images"]] + [{"type": "text", "text": request["question"]}]
        text = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=request["think"],
        )
        images = [Image.open(file).convert("RGB") for file in request["images"]]
        inputs = processor(text=[text], images=images or None, return_tensors="pt")
        grids = inputs["image_grid_thw"].tolist() if images else []
        prompt = Prompt(inputs["input_ids"][0].tolist(), grids, inputs.get("pixel_values"))
        ids = answer(model, prompt, args.max_tokens).ids
        words = processor.tokenizer.decode(ids, skip_special_tokens=True).split("</think>")[-1].strip()
        row = {"id": request["id"], "answer": words, "prompt_ids": prompt.input_ids, "output_ids": ids}
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
