"""Times PyTorch's scaled_dot_product_attention (cuDNN and flash back ends) on the shapes of attention_bench.

python3 bench/cuda/attention_peers.py     needs a GPU; prints medians of graph replays, and a bf16 product's rate beside them
"""

import statistics

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention


def seconds(work, calls=8, rounds=9):
    """The median time of one of `calls` calls captured in a graph."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            work()
    times = []
    for _ in range(rounds):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e-3 / calls)
    return statistics.median(times)


def normal(*shape):
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)


def report(name, flops, q, k, v, **options):
    for backend in (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION):
        try:
            with sdpa_kernel(backend):
                t = seconds(lambda: scaled_dot_product_attention(q, k, v, **options))
            rate = f"{flops / t / 1e12:6.0f} TFLOP/s"
            print(f"{name:40s} {backend.name:16s} {t * 1e6:9.1f} us {rate}")
        except RuntimeError as error:
            print(f"{name:40s} {backend.name:16s} cannot: {str(error).splitlines()[0][:80]}")


def main():
    a, b = normal(8192, 8192), normal(8192, 8192)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}")
    print(f"product 8192^3: {2 * 8192**3 / seconds(lambda: a @ b) / 1e12:.0f} TFLOP/s")
    for n in (576, 1296, 1600, 6400, 10336, 10764):
        # As the tower stores them: rows [q | k | v], heads inside.
        qkv = normal(1, n, 3, 12, 128)
        q, k, v = (qkv[:, :, i].transpose(1, 2) for i in range(3))
        report(f"vision {n}", 4 * n * n * 12 * 128, q, k, v)
    for n in (512, 2048, 2755, 8192):
        q, k, v = normal(1, 32, n, 128), normal(1, 2, n, 128), normal(1, 2, n, 128)
        report(f"prefill {n}", 4 * n * (n + 1) / 2 * 32 * 128, q, k, v, is_causal=True, enable_gqa=True)
    for batch, n in ((1, 512), (1, 8192), (64, 512)):
        q, k, v = normal(batch, 32, 1, 128), normal(batch, 2, n, 128), normal(batch, 2, n, 128)
        report(f"decode {batch} x {n}", 4 * batch * n * 32 * 128, q, k, v, enable_gqa=True)


if __name__ == "__main__":
    main()
