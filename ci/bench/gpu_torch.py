#!/usr/bin/env python3
"""PyTorch's side of SDM's matching, for runtime/gpu_bench_test.go: the K nearest rows by a product of matrices and top-K.

    usage: gpu_torch.py [DEVICE]        cuda unless given

Answers requests, one per line of standard input, with the nanoseconds of each repetition, by events on a GPU:

    match QUERIES ROWS ELEMENTS K REPEAT

Rows are taken in parts whose distances fit 8 GiB; the K nearest of each part are merged. Products are strict float32.
"""

import sys
import time

import torch

PART = 8 << 30  # bytes of distances at a time


class Matching:
    def __init__(self, queries, rows, elements, k, device):
        generator = torch.Generator(device=device).manual_seed(1)
        self.x = torch.randn(queries, elements, device=device, generator=generator)
        self.y = torch.randn(rows, elements, device=device, generator=generator)
        self.k, self.device = min(k, rows), device

    def run(self):
        part = max(1, PART // (4 * len(self.x)))
        best = None
        for first in range(0, len(self.y), part):
            y = self.y[first:first + part]
            distance = torch.addmm((y * y).sum(1), self.x, y.T, alpha=-2)  # less |x|^2, which changes no order
            values, rows = distance.topk(min(self.k, len(y)), largest=False)
            rows += first
            if best is not None:
                values, chosen = torch.cat((best[0], values), 1).topk(self.k, largest=False)
                rows = torch.cat((best[1], rows), 1).gather(1, chosen)
            best = values, rows
        return best

    def nanoseconds(self):
        if self.device == "cpu":
            start = time.perf_counter()
            self.run()
            return 1e9 * (time.perf_counter() - start)
        begun, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begun.record()
        self.run()
        ended.record()
        ended.synchronize()
        return 1e6 * begun.elapsed_time(ended)


def main():
    device = sys.argv[1] if len(sys.argv) > 1 else "cuda"
    torch.backends.cuda.matmul.allow_tf32 = False
    made = {}
    for line in sys.stdin:
        try:
            name, *numbers = line.split()
            *sizes, repeat = map(int, numbers)
            if name != "match":
                raise ValueError(f"no request is called {name}")
            if tuple(sizes) not in made:
                made[tuple(sizes)] = Matching(*sizes, device)
                made[tuple(sizes)].nanoseconds()
            print(*(made[tuple(sizes)].nanoseconds() for _ in range(repeat)), flush=True)
        except (ValueError, TypeError, RuntimeError) as e:
            print("error:", str(e).replace("\n", " "), flush=True)


if __name__ == "__main__":
    main()
