"""Writes tests/tokenizer/goldens/mini.json: hashes of the ids that the `tokenizers` library gives glimpse-mini's
tokenizer for generated strings, one hash per 1000 strings.

    python python/reference/make_tokenizer_goldens.py
"""

import json

import tokenizers
from tokenizers import Tokenizer
from tokenizer_strings import FNV_BASIS, ROOT, StringGenerator, hash_ids

SEED = 20
NUM_HASHES = 24
STRINGS_PER_HASH = 1000


def main() -> None:
    tokenizer = Tokenizer.from_file(str(ROOT / "models/glimpse-mini/tokenizer.json"))
    generator = StringGenerator()
    hashes = []
    for block in range(NUM_HASHES):
        value = FNV_BASIS
        for index in range(block * STRINGS_PER_HASH, (block + 1) * STRINGS_PER_HASH):
            value = hash_ids(tokenizer.encode(generator.make(SEED, index), add_special_tokens=False).ids, value)
        hashes.append(f"{value:016x}")
    golden = {
        "made_by": f"python/reference/make_tokenizer_goldens.py, tokenizers {tokenizers.__version__}",
        "seed": SEED,
        "strings_per_hash": STRINGS_PER_HASH,
        "hashes": hashes,
    }
    path = ROOT / "tests/tokenizer/goldens/mini.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
