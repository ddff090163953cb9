"""Writes tests/golden/image: tiny pictures with the pixels PIL reads from them, resizes with the pixels torchvision and
Pillow make of them, and the patches of transformers' GLM image processors.

    python python/reference/make_image_goldens.py [OUT_DIR]

Big sources are not stored: both sides make them with `source_bytes`, and compare `position_hash` of the result.
Everything is deterministic for given versions of the packages, which the manifest records.
"""

import io
import json
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
import transformers
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as tvF
from transformers.models.glm4v.image_processing_glm4v import Glm4vImageProcessor, smart_resize
from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil

# ---- shared with tests/image/golden.h --------------------------------------------------------------------------------


def splitmix(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def source_bytes(seed: int, height: int, width: int) -> np.ndarray:
    """[height, width, 3]. Even seeds: noise. Odd seeds: 5x3 blocks of 0 or 255 (every edge overshoots) with noise of 3 bits."""
    n = height * width * 3
    noise = splitmix(np.arange(n, dtype=np.uint64) + np.uint64(seed << 40)) >> np.uint64(56)
    noise = noise.astype(np.uint8).reshape(height, width, 3)
    if seed % 2 == 0:
        return noise
    y, x = np.mgrid[0:height, 0:width]
    blocks = (((x // 5 + y // 3) & 1) * 255).astype(np.uint8)[..., None]
    return blocks ^ (noise & np.uint8(7))


def position_hash(data: bytes) -> str:
    """Sum over i of splitmix(byte_i + 256 * i), as hex."""
    a = np.frombuffer(data, dtype=np.uint8).astype(np.uint64)
    with np.errstate(over="ignore"):
        total = splitmix(a + (np.arange(a.size, dtype=np.uint64) << np.uint64(8))).sum(dtype=np.uint64)
    return f"{int(total):016x}"


# ---- pictures --------------------------------------------------------------------------------------------------------


def pillow_pixels(data: bytes) -> np.ndarray:
    """transformers.image_utils.load_image: exif_transpose, then convert("RGB")."""
    return np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def photo(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Smooth colours with an edge and a little noise, so that JPEG has something to do in every band."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for c in range(channels):
        plane = 127 + 90 * np.sin(x / (5 + 2 * c) + c) * np.cos(y / (7 - c) + 2 * c) + 30 * ((x + 2 * y) > width)
        planes.append(plane)
    noise = source_bytes(2, height, width * ((channels + 2) // 3))[..., 0][:, :width]
    out = np.stack(planes, -1) + (noise.astype(np.float64)[..., None] - 128) / 12
    return np.clip(np.round(out), 0, 255).astype(np.uint8)


def jpeg(array: np.ndarray, mode: str = "RGB", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array, mode=None if mode != "CMYK" else "CMYK").save(buffer, "JPEG", **options)
    return buffer.getvalue()


def exif_block(orientation: int, endian: str = "<", kind: int = 3) -> bytes:
    head = b"II*\0" if endian == "<" else b"MM\0*"
    value = struct.pack(endian + ("HH" if kind == 3 else "I"), *((orientation, 0) if kind == 3 else (orientation,)))
    return head + struct.pack(endian + "IHHHI", 8, 1, 0x0112, kind, 1) + value + b"\0\0\0\0"


def replace_once(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) >= 1, old
    return data.replace(old, new, 1)


def with_sampling(data: bytes, factors: int) -> bytes:
    """Rewrites the luma sampling factors of a three-component JPEG; the caller picks a size with as many blocks."""
    at = data.index(b"\xff\xc0")
    out = bytearray(data)
    out[at + 11] = factors
    return bytes(out)


def insert_segment(data: bytes, marker: int, body: bytes) -> bytes:
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + data[2:]


def jpeg_files() -> dict[str, bytes]:
    files = {}
    for name, sampling in {"444": 0, "422": 1, "420": 2}.items():
        files[f"jpeg_{name}_q90"] = jpeg(photo(41, 37), quality=90, subsampling=sampling)
        files[f"jpeg_{name}_progressive"] = jpeg(photo(33, 50), quality=80, subsampling=sampling, progressive=True)
    files["jpeg_440"] = with_sampling(jpeg(photo(32, 32), quality=85, subsampling=1), 0x12)
    files["jpeg_411"] = with_sampling(jpeg(photo(32, 32), quality=85, subsampling=2), 0x41)
    files["jpeg_1x1"] = jpeg(photo(1, 1), quality=90)
    files["jpeg_2x3"] = jpeg(photo(2, 3), quality=90)
    files["jpeg_q5"] = jpeg(photo(24, 40), quality=5)
    files["jpeg_q100"] = jpeg(photo(24, 40), quality=100)
    files["jpeg_grey"] = jpeg(photo(29, 31)[..., 0], quality=90)
    files["jpeg_grey_progressive"] = jpeg(photo(29, 31)[..., 0], quality=90, progressive=True)
    files["jpeg_rgb"] = jpeg(photo(20, 20), quality=90, keep_rgb=True)
    files["jpeg_restart"] = jpeg(photo(40, 56), quality=90, restart_marker_blocks=2)
    files["jpeg_optimized"] = jpeg(photo(40, 56), quality=70, optimize=True)
    cmyk = jpeg(photo(24, 26, 4), mode="CMYK", quality=92)
    files["jpeg_cmyk"] = cmyk
    files["jpeg_cmyk_progressive"] = jpeg(photo(24, 26, 4), mode="CMYK", quality=92, progressive=True)
    adobe = cmyk.index(b"\xff\xeeAd" if b"\xff\xeeAd" in cmyk else b"\xff\xee")
    length = struct.unpack(">H", cmyk[adobe + 2 : adobe + 4])[0]
    files["jpeg_cmyk_no_adobe"] = cmyk[:adobe] + cmyk[adobe + 2 + length :]
    ycck = bytearray(cmyk)
    ycck[adobe + 2 + length - 1] = 2
    files["jpeg_ycck"] = bytes(ycck)
    base = jpeg(photo(18, 27), quality=90)
    for orientation in range(1, 9):
        endian = "<" if orientation % 2 else ">"
        files[f"jpeg_exif_{orientation}"] = insert_segment(base, 0xE1, b"Exif\0\0" + exif_block(orientation, endian))
    files["jpeg_exif_9"] = insert_segment(base, 0xE1, b"Exif\0\0" + exif_block(9))
    files["jpeg_exif_long"] = insert_segment(base, 0xE1, b"Exif\0\0" + exif_block(6, ">", 4))
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation=\"8\"/>"
    files["jpeg_xmp_8"] = insert_segment(base, 0xE1, xmp)
    files["jpeg_exif_3_xmp_8"] = insert_segment(insert_segment(base, 0xE1, xmp), 0xE1, b"Exif\0\0" + exif_block(3))
    # Zero bytes between the scan's end and the end marker: libjpeg warns about extraneous bytes, Pillow accepts.
    files["jpeg_extraneous"] = base[:-2] + b"\0\0\0\0" + base[-2:]
    files["jpeg_trailing"] = base + b"trailing rubbish"
    return files


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_filtered(rows: list[bytes], pixel_bytes: int, first_filter: int) -> bytes:
    """Filters row y with type (first_filter + y) % 5 by the PNG specification's definitions."""
    out = bytearray()
    previous = bytes(len(rows[0])) if rows else b""
    for y, row in enumerate(rows):
        kind = (first_filter + y) % 5
        out.append(kind)
        for i, value in enumerate(row):
            a = row[i - pixel_bytes] if i >= pixel_bytes else 0
            b = previous[i]
            c = previous[i - pixel_bytes] if i >= pixel_bytes else 0
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            out.append((value - (0, a, b, (a + b) // 2, paeth)[kind]) & 255)
        previous = row
    return bytes(out)


def png_file(samples: np.ndarray, depth: int, color: int, interlace: bool = False, before: bytes = b"",
             after: bytes = b"", pieces: int = 1) -> bytes:
    """samples: [height, width, channels] of unsigned values below 2^depth."""
    height, width, channels = samples.shape

    def pack(part: np.ndarray) -> list[bytes]:
        if depth == 16:
            return [row.astype(">u2").tobytes() for row in part]
        if depth == 8:
            return [row.astype(np.uint8).tobytes() for row in part]
        bits = (part[..., 0, None] >> np.arange(depth - 1, -1, -1)) & 1
        return [np.packbits(row.reshape(-1).astype(np.uint8)).tobytes() for row in bits]

    pixel_bytes = max(1, depth * channels // 8)
    if interlace:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
        raw = b""
        for n, (x0, y0, dx, dy) in enumerate(passes):
            part = samples[y0::dy, x0::dx]
            if part.size:
                raw += png_filtered(pack(part), pixel_bytes, n)
    else:
        raw = png_filtered(pack(samples), pixel_bytes, 0)
    data = zlib.compress(raw, 9)
    step = -(-len(data) // pieces)
    idat = b"".join(png_chunk(b"IDAT", data[i : i + step]) for i in range(0, len(data), step))
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlace))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + before + idat + after + png_chunk(b"IEND", b"")


def png_files() -> dict[str, bytes]:
    files = {}
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
    for color, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}.items():
        for depth in depths:
            for interlace in (False, True):
                height, width = 13, 19
                words = splitmix(np.arange(height * width * channels[color], dtype=np.uint64) + np.uint64(depth * 77 + color))
                samples = (words >> np.uint64(64 - depth)).astype(np.int64).reshape(height, width, channels[color])
                if depth == 16 and color == 0:
                    samples[::2] //= 128  # both sides of 255, where Pillow clamps
                before = b""
                if color == 3:
                    entries = min(2**depth, 200)  # 8 bits: indices past the palette occur
                    palette = splitmix(np.arange(entries * 3, dtype=np.uint64)) >> np.uint64(56)
                    before = png_chunk(b"PLTE", palette.astype(np.uint8).tobytes())
                name = f"png_type{color}_{depth}bit{'_interlaced' if interlace else ''}"
                files[name] = png_file(samples, depth, color, interlace, before)
                if not interlace and color in (0, 2, 3) and depth in (4, 8, 16):
                    trns = {0: b"\0\3", 2: b"\0\1\0\2\0\3", 3: bytes(range(0, 240, 17))}[color]
                    files[name + "_trns"] = png_file(samples, depth, color, interlace, before + png_chunk(b"tRNS", trns))
    rgb = photo(9, 14).astype(np.int64)
    files["png_many_idat"] = png_file(rgb, 8, 2, pieces=7)
    files["png_1x1"] = png_file(rgb[:1, :1], 8, 2)
    files["png_1x1_interlaced"] = png_file(rgb[:1, :1], 8, 2, True)
    files["png_gamma_icc"] = png_file(rgb, 8, 2, before=png_chunk(b"gAMA", struct.pack(">I", 100000)))
    for orientation in (2, 6, 7):
        files[f"png_exif_{orientation}"] = png_file(rgb, 8, 2, before=png_chunk(b"eXIf", exif_block(orientation, ">")))
    files["png_exif_5_after_data"] = png_file(rgb, 8, 2, after=png_chunk(b"eXIf", exif_block(5)))
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0<r><tiff:Orientation>4</tiff:Orientation></r>"
    files["png_xmp_4"] = png_file(rgb, 8, 2, before=png_chunk(b"iTXt", xmp))
    return files


def webp_files() -> dict[str, bytes]:
    def save(array: np.ndarray, mode: str, **options) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(array, mode=None).convert(mode).save(buffer, "WEBP", **options)
        return buffer.getvalue()

    rgba = photo(22, 31, 4)
    rgba[::3, ::2, 3] = 0
    files = {
        "webp_lossy": save(photo(35, 43), "RGB", quality=80),
        "webp_lossy_low": save(photo(35, 43), "RGB", quality=5),
        "webp_lossless": save(photo(21, 30), "RGB", lossless=True),
        "webp_lossy_alpha": save(rgba, "RGBA", quality=75),
        "webp_lossless_alpha": save(rgba, "RGBA", lossless=True, exact=True),
        "webp_1x1": save(photo(1, 1), "RGB", quality=80),
    }
    for orientation in (1, 6, 8):
        files[f"webp_exif_{orientation}"] = save(photo(16, 24), "RGB", quality=80, exif=exif_block(orientation))
    return files


# ---- resizes and whole processors ------------------------------------------------------------------------------------

SMALL_RESIZES = [
    # (in_h, in_w, out_h, out_w): odd sides, both directions, one axis kept, extreme shapes
    (28, 28, 28, 56), (28, 28, 56, 28), (40, 60, 28, 56), (61, 47, 56, 56), (100, 75, 56, 28), (33, 97, 28, 84),
    (120, 90, 84, 56), (57, 57, 56, 56), (55, 83, 56, 84), (30, 31, 84, 84), (17, 90, 28, 112), (5, 7, 28, 28),
    (1, 1, 28, 28), (1, 40, 28, 112), (40, 1, 112, 28), (2, 3, 56, 28), (200, 28, 56, 28), (28, 200, 28, 56),
    (150, 149, 28, 28), (301, 203, 56, 28), (64, 64, 112, 84), (90, 160, 56, 84), (160, 90, 84, 56), (77, 33, 28, 28),
    (129, 65, 84, 28), (256, 256, 84, 84), (3, 500, 28, 196), (480, 640, 56, 84), (41, 43, 28, 28), (83, 85, 84, 84),
    (27, 29, 28, 28), (112, 111, 112, 112), (111, 112, 112, 112), (9, 9, 28, 28), (1000, 30, 84, 28), (333, 222, 84, 56),
]  # fmt: skip
BIG_RESIZES = [
    (1080, 1920, 252, 448), (1080, 1920, 1092, 1932), (2400, 1080, 784, 336), (600, 800, 616, 812), (768, 1024, 224, 308),
    (1080, 1920, 616, 1120), (1080, 1920, 336, 336), (1440, 3168, 308, 672), (123, 1777, 84, 1204), (3000, 2000, 588, 392),
]  # fmt: skip


def torchvision_resize(source: np.ndarray, height: int, width: int) -> np.ndarray:
    tensor = torch.from_numpy(source).permute(2, 0, 1).contiguous()[None]
    out = tvF.resize(tensor, [height, width], interpolation=tvF.InterpolationMode.BICUBIC, antialias=True)
    return out[0].permute(1, 2, 0).contiguous().numpy()


def pillow_resize(source: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.array(Image.fromarray(source).resize((width, height), Image.Resampling.BICUBIC))


def write_resizes(out_dir: Path) -> list[dict]:
    cases = []
    stored = bytearray()
    for n, (ih, iw, oh, ow) in enumerate(SMALL_RESIZES + BIG_RESIZES):
        source = source_bytes(100 + n, ih, iw)
        for resampler, function in (("torchvision", torchvision_resize), ("pillow", pillow_resize)):
            result = function(source, oh, ow).tobytes()
            case = {"seed": 100 + n, "in": [ih, iw], "out": [oh, ow], "resampler": resampler,
                    "hash": position_hash(result)}
            if n < len(SMALL_RESIZES):
                case["offset"] = len(stored)
                stored += result
            cases.append(case)
    (out_dir / "resizes.bin").write_bytes(stored)
    return cases


def write_processors(out_dir: Path) -> list[dict]:
    cases = []
    stored = bytearray()
    for n, (height, width) in enumerate([(60, 100), (200, 300), (27, 55), (84, 56), (400, 90), (1080, 1920)]):
        source = source_bytes(300 + n, height, width)
        for name, kind in (("Glm4vImageProcessor", Glm4vImageProcessor), ("Glm4vImageProcessorPil", Glm4vImageProcessorPil)):
            size = {"shortest_edge": 25088, "longest_edge": 250880}
            result = kind(size=size)(images=Image.fromarray(source), return_tensors="pt")
            values = result["pixel_values"].to(torch.float32).contiguous()
            bf16 = values.to(torch.bfloat16).contiguous().view(torch.int16).numpy()
            cases.append({
                "seed": 300 + n, "in": [height, width], "processor": name, "size": size,
                "grid_thw": result["image_grid_thw"][0].tolist(), "shape": list(values.shape),
                "hash_fp32": position_hash(values.numpy().tobytes()), "hash_bf16": position_hash(bf16.tobytes()),
                "offset": len(stored),
            })  # fmt: skip
            stored += values[:2].numpy().tobytes()
    (out_dir / "patches.bin").write_bytes(stored)
    return cases


def smart_resizes() -> list[list[int]]:
    """[h, w, min, max, out_h, out_w], or zeros where the reference raises."""
    rows = []
    words = splitmix(np.arange(2000, dtype=np.uint64) + np.uint64(9))
    bounds = [(12544, 9633792), (25088, 250880), (12544, 11760000), (12544, 5000000), (3000000, 4000000)]
    for n in range(500):
        shape = [int(2 ** (float(words[2 * n + k] >> np.uint64(11)) / 2**53 * 12.5)) for k in (0, 1)]
        low, high = bounds[n % len(bounds)]
        try:
            out = smart_resize(2, shape[0], shape[1], 2, 28, low, high)
        except ValueError:
            out = (0, 0)
        rows.append([*shape, low, high, *out])
    return rows


def main() -> None:
    out_dir = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2] / "tests/golden/image")
    out_dir.mkdir(parents=True, exist_ok=True)
    encoded, pixels, pictures = bytearray(), bytearray(), []
    for name, data in {**jpeg_files(), **png_files(), **webp_files()}.items():
        expected = pillow_pixels(data)
        pictures.append({"name": name, "offset": len(encoded), "bytes": len(data), "pixels": len(pixels),
                         "height": expected.shape[0], "width": expected.shape[1]})
        encoded += data
        pixels += expected.tobytes()
    (out_dir / "pictures.bin").write_bytes(encoded)
    (out_dir / "pixels.bin").write_bytes(pixels)
    manifest = {
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__,
                     "transformers": transformers.__version__, "pillow": PIL.__version__},
        "pictures": pictures, "resizes": write_resizes(out_dir), "processors": write_processors(out_dir),
        "smart_resize": smart_resizes(),
    }  # fmt: skip
    text = json.dumps(manifest, separators=(",", ":")).replace('{"name"', '\n{"name"').replace('{"seed"', '\n{"seed"')
    (out_dir / "manifest.json").write_text(text + "\n")
    for path in sorted(out_dir.iterdir()):
        print(f"{path.stat().st_size:9d}  {path.name}")


if __name__ == "__main__":
    main()
