"""Writes OUT/tokenizer.json of the published models' size (151,329 tokens, up to 318,088 merges, 36 added tokens) and
OUT/text.txt to measure with: a byte-level BPE trained on text found on this machine, filled up with made-up words.
Not a model's tokenizer: only its size and make-up are real.

    python python/reference/make_large_tokenizer.py OUT
"""

from __future__ import annotations

import json
import random
import sys
import sysconfig
from pathlib import Path

from tokenizer_strings import ROOT, StringGenerator
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

VOCAB_SIZE = 151_329
NUM_MERGES = 318_088


def sources() -> list[str]:
    files = sorted(Path(sysconfig.get_path("purelib")).rglob("*.py"))[:6000:3]
    return [f.read_text(encoding="utf-8", errors="replace") for f in files]


def chinese(rng: random.Random, mini: Tokenizer, count: int) -> list[str]:
    words = [mini.decode([i]) for i in range(mini.get_vocab_size())]
    words = [w for w in words if any("\u4e00" <= c <= "\u9fff" for c in w)]
    # Clauses of 2 to 7 words between signs, as in written Chinese.
    clause = lambda: "".join(rng.choices(words, k=rng.randrange(2, 8)))  # noqa: E731
    return ["，".join(clause() for _ in range(rng.randrange(1, 5))) + "。\n" for _ in range(count)]


def main(out: Path) -> None:
    rng = random.Random(0)
    mini_path = ROOT / "models/glimpse-mini/tokenizer.json"
    mini = json.loads(mini_path.read_text())
    mini_tokenizer = Tokenizer.from_file(str(mini_path))
    pattern = mini["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    texts = sources() + chinese(rng, mini_tokenizer, 60_000)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        (t.replace("/nothink", "") for t in texts),
        trainers.BpeTrainer(vocab_size=VOCAB_SIZE, initial_alphabet=alphabet, show_progress=False, max_token_length=64),
    )
    trained = json.loads(tokenizer.to_str())["model"]
    vocab: dict[str, int] = trained["vocab"]
    merges = [tuple(m) for m in trained["merges"]]
    known = set(merges)
    # Fill the vocabulary with joined tokens, and the merges with other ways to cut tokens in two.
    tokens = list(vocab)
    while len(vocab) < VOCAB_SIZE:
        left, right = rng.choice(tokens[256:]), rng.choice(tokens[256:])
        if left + right not in vocab and len(left + right) < 24:
            vocab[left + right] = len(vocab)
            known.add((left, right))
            merges.append((left, right))
    for token in sorted(vocab, key=vocab.get):
        for cut in range(1, len(token)):
            pair = (token[:cut], token[cut:])
            if len(merges) < NUM_MERGES and pair not in known and pair[0] in vocab and pair[1] in vocab:
                known.add(pair)
                merges.append(pair)
    merges.sort(key=lambda m: vocab[m[0] + m[1]])  # a token's merges stand where the token does, as in converted tables
    added = [t | {"id": VOCAB_SIZE + i} for i, t in enumerate(mini["added_tokens"])]
    model = mini["model"] | {"vocab": vocab, "merges": [" ".join(m) for m in merges], "ignore_merges": True}
    out.mkdir(parents=True, exist_ok=True)
    file = mini | {"added_tokens": added, "model": model}
    (out / "tokenizer.json").write_text(json.dumps(file, ensure_ascii=False, indent=2), encoding="utf-8")
    # Held-out: other files, other draws; code, Chinese, and a tenth of strange things.
    files = sorted(Path(sysconfig.get_path("purelib")).rglob("*.py"))[1:6000:60]
    code = "".join(f.read_text(encoding="utf-8", errors="replace") for f in files)[:1_000_000]
    generator = StringGenerator()
    mixed = "".join(generator.make(40, i) for i in range(5_000))
    text = code + "".join(chinese(random.Random(1), mini_tokenizer, 16_000)) + mixed
    (out / "text.txt").write_text(text, encoding="utf-8")
    print(len(vocab), "tokens", len(merges), "merges", len(text.encode()), "bytes of text")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
