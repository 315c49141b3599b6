#!/usr/bin/env python3
"""Convolutions of the grey 32 x 32 Prob-PSENN network, forward and backward, against PyTorch on the same CPU.

    build/credence must exist; PyTorch (pip install torch) is needed for the comparison only.
    usage: conv_torch.py [--threads N] [--rounds N] [--best]

The cases are those of `credence bench ops --filter ^conv2d`: the layers at batch 128, each as convolution, input gradient
(which is also the decoder's transposed convolution) and weight gradient. Both sides take turns; medians over the rounds (--best: least times).
PyTorch runs each case in both of its memory layouts, and the faster counts.
"""

import argparse
import json
import re
import statistics
import subprocess
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
SHAPE = re.compile(r"(\d+)x(\d+)x(\d+)x(\d+) by (\d+)x(\d+) to (\d+), stride (\d+) (\d+), padding (\d+) (\d+) (\d+) (\d+)")
PRODUCT = "matmul/512x512x512"


def credence(threads, best):
    """Seconds, median or least, and flops of each case, by op/case."""
    out = subprocess.run(
        [ROOT / "build/credence", "bench", "ops", "--json", "--filter", f"^conv2d|^{PRODUCT}$", "--time", "100ms",
         "--threads", str(threads)], check=True, capture_output=True, text=True).stdout
    return {f"{r['op']}/{r['case']}": (r["fastest_ns" if best else "median_ns"] * 1e-9, r["flops"]) for r in json.loads(out)["timings"]}


def torch_case(op, shape):
    """A function that computes the case once, for each memory layout."""
    b, h, w, c, r, s, f, sh, sw, top, bottom, left, right = shape
    if top != bottom or left != right:
        return []
    p, q = (h + 2 * top - r) // sh + 1, (w + 2 * left - s) // sw + 1
    x, weight, y = torch.randn(b, c, h, w), torch.randn(f, c, r, s), torch.randn(b, f, p, q)
    bias_f, bias_c = torch.randn(f), torch.randn(c)
    runs = []
    for layout in (torch.contiguous_format, torch.channels_last):
        xs, ws, ys = (t.contiguous(memory_format=layout) for t in (x, weight, y))
        if op == "conv2d":
            runs.append(lambda xs=xs, ws=ws: torch.conv2d(xs, ws, bias_f, (sh, sw), (top, left)))
        elif op == "conv2d_grad_input":
            extra = (h - ((p - 1) * sh + r - 2 * top), w - ((q - 1) * sw + s - 2 * left))
            runs.append(lambda ys=ys, ws=ws: torch.conv_transpose2d(ys, ws, bias_c, (sh, sw), (top, left), extra))
        else:
            runs.append(lambda xs=xs, ws=ws, ys=ys: torch.ops.aten.convolution_backward(
                ys, xs, ws, None, [sh, sw], [top, left], [1, 1], False, [0, 0], 1, [False, True, False]))
    return runs


def seconds_of(run, best, seconds=0.1):
    run()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times) if best else statistics.median(times)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--best", action="store_true", help="least times instead of medians: for a machine with neighbours")
    args = parser.parse_args()
    middle = min if args.best else statistics.median
    torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)
    ours, theirs, flops = {}, {}, {}
    for _ in range(args.rounds):
        for name, (seconds, count) in credence(args.threads, args.best).items():
            ours.setdefault(name, []).append(seconds)
            flops[name] = count
        for name in ours:
            found = SHAPE.search(name)
            if found:
                runs = torch_case(name.split("/")[0], [int(n) for n in found.groups()])
                theirs.setdefault(name, []).append(min(seconds_of(run, args.best) for run in runs))
    print(f"PyTorch {torch.__version__}, {args.threads} thread(s), {'least times' if args.best else 'medians'} of {args.rounds} rounds, GFLOP/s")
    print(f"{'case':78} {'credence':>9} {'pytorch':>9} {'ratio':>6}")
    total = [0.0, 0.0, 0]
    for name in theirs:
        a, b = middle(ours[name]), middle(theirs[name])
        print(f"{name:78} {flops[name] / a * 1e-9:9.1f} {flops[name] / b * 1e-9:9.1f} {b / a:6.2f}")
        total = [total[0] + a, total[1] + b, total[2] + flops[name]]
    product = flops[PRODUCT] / middle(ours[PRODUCT]) * 1e-9
    rate = total[2] / total[0] * 1e-9
    print(f"{'all':78} {rate:9.1f} {total[2] / total[1] * 1e-9:9.1f} {total[1] / total[0]:6.2f}")
    print(f"{PRODUCT} {product:.1f} GFLOP/s; the convolutions reach {rate / product:.2f} of it")


main()
