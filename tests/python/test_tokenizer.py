"""Our tokenizer against the `tokenizers` library, string by string, for glimpse-mini's tokenizer and for a larger one
trained here (GLM pattern, ignore_merges, words that no merge reaches)."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
import sysconfig
import unicodedata
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python/reference"))
from tokenizer_strings import StringGenerator  # noqa: E402

MINI = ROOT / "models/glimpse-mini/tokenizer.json"
BUILD = Path(os.environ.get("GLIMPSE_BUILD_DIR", ROOT / "build/release"))
GLM_PATTERN = json.loads(MINI.read_text())["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
CL100K_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)


def ask(tokenizer: Path, operation: str, records: list[bytes]) -> list[bytes]:
    data = b"".join(operation.encode() + struct.pack("<I", len(r)) + r for r in records)
    tool = BUILD / "tests/tokenizer/tokenize_lines"
    out = subprocess.run([tool, tokenizer], input=data, stdout=subprocess.PIPE, check=True).stdout
    answers, at = [], 0
    while at < len(out):
        (size,) = struct.unpack_from("<I", out, at)
        answers.append(out[at + 4 : at + 4 + size])
        at += 4 + size
    assert len(answers) == len(records)
    return answers


def ids_of(record: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(record) // 4}i", record))


def pack(ids: list[int]) -> bytes:
    return struct.pack(f"<{len(ids)}i", *ids)


def check_encode(path: Path, strings: list[str]) -> None:
    library = Tokenizer.from_file(str(path))
    expected = library.encode_batch(strings, add_special_tokens=False)
    for text, record, encoding in zip(strings, ask(path, "e", [s.encode() for s in strings]), expected):
        assert ids_of(record) == encoding.ids, repr(text)


def generated(seed: int, count: int) -> list[str]:
    generator = StringGenerator()
    return [generator.make(seed, i) for i in range(count)]


def local_text() -> list[str]:
    """Text that is on every machine this runs on: Python's own library, and the Chinese in our samples and templates."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:120]
    texts = [f.read_text(encoding="utf-8", errors="replace") for f in files]
    for name in ("eval.json", "samples/samples.jsonl", "README.md"):
        texts.append((ROOT / "models/glimpse-mini" / name).read_text(encoding="utf-8"))
    mini = Tokenizer.from_file(str(MINI))
    words = [mini.decode([i]) for i in range(mini.get_vocab_size())]
    chinese = [w for w in words if any("\u4e00" <= c <= "\u9fff" for c in w)]
    shuffle = random.Random(1)
    texts += ["".join(shuffle.choices(chinese, k=30)) for _ in range(4000)]
    return texts


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A byte-level BPE of 30,000 tokens as JSON. One merge in twelve is dropped again, so that only ignore_merges
    reaches some tokens, as in the published GLM tokenizers."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(GLM_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=30000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False, max_token_length=40
    )
    # A word that is an added token too would be a token with two ids.
    tokenizer.train_from_iterator((text.replace("/nothink", "") for text in local_text()), trainer)
    file = json.loads(tokenizer.to_str())
    drop = random.Random(2)
    file["model"]["merges"] = [m for m in file["model"]["merges"] if drop.random() > 1 / 12]
    file["model"]["ignore_merges"] = True
    size = 1 + max(file["model"]["vocab"].values())
    added = json.loads(MINI.read_text())["added_tokens"]
    file["added_tokens"] = [token | {"id": size + i} for i, token in enumerate(added)]
    return file


def written(file: dict, path: Path) -> Path:
    path.write_text(json.dumps(file, ensure_ascii=False), encoding="utf-8")
    return path


def test_mini_encodes_as_the_library() -> None:
    check_encode(MINI, generated(1, 24000))


def test_large_encodes_as_the_library(large: dict, tmp_path: Path) -> None:
    path = written(large, tmp_path / "tokenizer.json")
    strings = generated(2, 24000)
    check_encode(path, strings)
    reached = {i for e in Tokenizer.from_file(str(path)).encode_batch(strings) for i in e.ids}
    assert len(reached) > 2000  # the strings exercise the vocabulary, not only its bytes


def test_real_text_encodes_as_the_library(large: dict, tmp_path: Path) -> None:
    path = written(large, tmp_path / "tokenizer.json")
    check_encode(path, local_text()[:160])
    check_encode(MINI, local_text()[:160])


def test_merges_as_strings_are_the_same(large: dict, tmp_path: Path) -> None:
    file = json.loads(json.dumps(large))
    file["model"]["merges"] = [" ".join(m) if isinstance(m, list) else m for m in large["model"]["merges"]]
    check_encode(written(file, tmp_path / "tokenizer.json"), generated(3, 1000))


def regex_split(pattern: str) -> dict:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
STAGES = {
    "no contractions folded": [regex_split(GLM_PATTERN.replace("(?i:'s", "(?:'s")), BYTES],
    "ascii contractions": [
        regex_split(GLM_PATTERN.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)", "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])")),
        BYTES,
    ],
    "cl100k": [regex_split(CL100K_PATTERN), BYTES],
    "one digit": [regex_split(GLM_PATTERN.replace("{1,3}", "")), BYTES],
    "raw newlines": [regex_split(GLM_PATTERN.replace("\\r", "\r").replace("\\n", "\n")), BYTES],
    "gpt2": [BYTES | {"use_regex": True}],
    "no split": [BYTES],
    "two steps": [regex_split(r"\p{N}{1,3}"), regex_split(r"[一-龥぀-ゟ゠-ヿ]+"), BYTES | {"use_regex": True}],
    "two lines": [regex_split(r"^\s+|\S+$|\d+"), BYTES],
}


def is_recent(char: str) -> bool:
    """Whether Unicode versions since 3.2 may disagree on it: PCRE2, utf8proc and the library each carry their own."""
    return unicodedata.category(char)[0] in "LNMC" and unicodedata.ucd_3_2_0.category(char) == "Cn"


@pytest.mark.parametrize("name", STAGES)
def test_other_pre_tokenizers(large: dict, tmp_path: Path, name: str) -> None:
    stages = STAGES[name]
    file = large | {"pre_tokenizer": {"type": "Sequence", "pretokenizers": stages} if len(stages) > 1 else stages[0]}
    strings = [s for s in generated(4, 4000) if not any(map(is_recent, s))]
    assert len(strings) > 2000
    check_encode(written(file, tmp_path / "tokenizer.json"), strings)


def test_nfc(large: dict, tmp_path: Path) -> None:
    file = large | {"normalizer": {"type": "NFC"}}
    strings = [s for s in generated(5, 6000) if not any(map(is_recent, s))]
    strings += ["e\u0301\u0323", "\u1100\u1161\u11a8", "\u0344", "a" + "\u0315\u0300\u05ae\u0062" * 40, "Å\u030a"]
    check_encode(written(file, tmp_path / "tokenizer.json"), strings)


def test_tokens_matched_after_normalisation(large: dict, tmp_path: Path) -> None:
    added = [t | {"normalized": not t["special"]} for t in large["added_tokens"]]
    check_encode(written(large | {"added_tokens": added}, tmp_path / "tokenizer.json"), generated(6, 2000))


@pytest.mark.parametrize("which", ["mini", "large"])
def test_decodes_as_the_library(large: dict, tmp_path: Path, which: str) -> None:
    path = MINI if which == "mini" else written(large, tmp_path / "tokenizer.json")
    library = Tokenizer.from_file(str(path))
    rng = random.Random(7)
    size = library.get_vocab_size()
    lists = [[rng.randrange(size + 3) for _ in range(rng.randrange(1, 20))] for _ in range(6000)]
    # Mostly single bytes: broken UTF-8 of every kind.
    byte_ids = [i for i in range(size) if len(library.id_to_token(i)) == 1]
    lists += [[rng.choice(byte_ids) for _ in range(rng.randrange(1, 12))] for _ in range(12000)]
    expected = [library.decode(ids, skip_special_tokens=False) for ids in lists]
    skipped = [library.decode(ids, skip_special_tokens=True) for ids in lists]
    records = [pack(ids) for ids in lists]
    for ids, whole, streamed, plain, text, text_skipped in zip(
        lists, ask(path, "d", records), ask(path, "i", records), ask(path, "s", records), expected, skipped
    ):
        assert whole.decode() == text, ids
        assert streamed.decode() == text, ids
        assert plain.decode() == text_skipped, ids


def test_broken_utf8_comes_back() -> None:
    rng = random.Random(8)
    alphabet = [0x41, 0x20, 0x0A, 0x80, 0xBF, 0xC0, 0xC2, 0xE0, 0xE4, 0xED, 0xA0, 0x9F, 0xF0, 0x90, 0xF4, 0x8F, 0xF5, 0xFF]
    texts = [bytes(rng.choice(alphabet) for _ in range(rng.randrange(1, 24))) for _ in range(8000)]
    texts += [bytes(rng.randrange(256) for _ in range(rng.randrange(1, 40))) for _ in range(4000)]
    encoded = ask(MINI, "u", texts)
    for text, decoded, again in zip(texts, ask(MINI, "d", encoded), encoded):
        assert decoded.decode() == text.decode("utf-8", errors="replace"), text
        assert len(ids_of(again)) > 0


def test_untrusted_text_has_no_added_tokens() -> None:
    library = Tokenizer.from_file(str(MINI))
    first_added = min(library.get_added_tokens_decoder())
    strings = generated(9, 4000)
    library.encode_special_tokens = True
    for text, record in zip(strings, ask(MINI, "u", [s.encode() for s in strings])):
        ids = ids_of(record)
        assert all(i < first_added for i in ids), text
        assert library.decode(ids) == text
