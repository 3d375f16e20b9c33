"""cuBLAS as PyTorch calls it, at the shapes of bench/gpu/kernels.ts: python3 bench/gpu/torch_kernels.py"""

from _torch_models import ceilings, report, require

torch = require("torch")

ROUND_BYTES = 2**30
SHAPES = [("1b qkv", 3072, 2048), ("1b output", 2048, 2048), ("1b gate, up", 16384, 2048),
          ("1b down", 2048, 8192), ("1b head", 128256, 2048), ("8b qkv", 6144, 4096),
          ("8b output", 4096, 4096), ("8b gate, up", 28672, 4096), ("8b down", 4096, 14336),
          ("8b head", 128256, 4096)]


def seconds_of_replay(graph, calls):
    graph.replay()
    torch.cuda.synchronize()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    replays = 20
    start.record()
    for _ in range(replays):
        graph.replay()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000 / replays / calls


def main():
    copy = ceilings().get("copyBytesPerSecond", float("nan"))
    for name, rows, columns in SHAPES:
        copies = max(2, -(-ROUND_BYTES // (2 * rows * columns)))
        weights = [torch.randn(rows, columns, device="cuda", dtype=torch.bfloat16) * 0.05
                   for _ in range(copies)]
        for tokens in (1, 4, 8):
            x = torch.randn(tokens, columns, device="cuda", dtype=torch.bfloat16)
            for weight in weights[:2]:
                torch.nn.functional.linear(x, weight)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                for weight in weights:
                    torch.nn.functional.linear(x, weight)
            seconds = seconds_of_replay(graph, copies)
            rate = 2 * (rows * columns + tokens * (rows + columns)) / seconds
            report(f"torch linear {name}, {tokens} rows", rate / 1e9, "GB/s", rate / copy,
                   "copy bandwidth", microseconds=round(seconds * 1e6, 2))
        del weights


main()
