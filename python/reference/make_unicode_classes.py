"""Writes src/tokenizer/unicode_ranges.inc: the code points that the `tokenizers` library's regex engine takes for
\\p{L}, \\p{N} and \\s, asked one by one, so that our splitter agrees with it whatever Unicode version it carries.

    python python/reference/make_unicode_classes.py > src/tokenizer/unicode_ranges.inc
"""

import tokenizers
from tokenizers import Regex, pre_tokenizers


def members(pattern: str) -> list[int]:
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    return [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and not split.pre_tokenize_str(chr(c))]


def ranges(points: list[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for point in points:
        if found and found[-1][1] + 1 == point:
            found[-1] = (found[-1][0], point)
        else:
            found.append((point, point))
    return found


def main() -> None:
    print(f"// Made by python/reference/make_unicode_classes.py from tokenizers {tokenizers.__version__}. Do not edit.")
    for name, pattern in (("kLetterRanges", r"\p{L}"), ("kNumberRanges", r"\p{N}"), ("kSpaceRanges", r"\s")):
        entries = [f"{{0x{first:X}, 0x{last:X}}}," for first, last in ranges(members(pattern))]
        print(f"constexpr CodePointRange {name}[] = {{")
        line = "   "
        for entry in entries:
            if len(line) + 1 + len(entry) > 119:
                print(line)
                line = "   "
            line += " " + entry
        print(line)
        print("};")


if __name__ == "__main__":
    main()
