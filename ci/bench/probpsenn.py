#!/usr/bin/env python3
"""Prob-PSENN against PyTorch and ONNX Runtime on the same CPU, and how its time grows; or its training against PyTorch's
on the same GPU. Prints Markdown.

    usage: probpsenn.py SERVER [--rounds N] [--quick] [--device cuda [--torch-device cpu]]

SERVER is the test binary of models/probpsenn (`go test -c`), which answers timing requests. Both sides run in this one
session and take turns round by round (A B A B); figures are medians over all rounds. Needs torch, numpy, onnx and
onnxruntime. The networks are the same: grey 32 x 32 autoencoder, 28 x 28 pictures resized on the way in, S = 10 samples of
full Gaussians in D = 40 dimensions, batch 128, every loss term of the paper, covariances inverted once per class, Adam.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

CLASSES = 10
BATCH = 128


def flops():
    """Multiplications and additions of the convolutions in one training step: 87 % of its time."""
    layers = ((16 * 16 * 32, 16), (8 * 8 * 32, 16 * 32), (4 * 4 * 64, 16 * 32), (256, 16 * 64), (40, 256))  # outputs, terms of each
    forward = 2 * sum(2 * outputs * terms for outputs, terms in layers)  # the decoder is the mirror image
    first = 2 * layers[0][0] * layers[0][1]  # has no input gradient
    return BATCH * (3 * forward - first)


class Server:
    """The Credence side, on so many threads, or with other settings in the environment."""

    def __init__(self, binary, threads=1, **settings):
        self.process = subprocess.Popen(
            [binary, "-test.run", "^TestServeBenchmarks$", "-credence.bench", "-test.timeout", "2h"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env=os.environ | {"CREDENCE_THREADS": str(threads)} | settings)

    def __call__(self, repeat, kind="train", batch=128, samples=10, per_class=1, latent=40, labels_only=False, prototypes="full"):
        request = dict(kind=kind, batch=batch, samples=samples, per_class=per_class, latent=latent, labels_only=labels_only,
                       prototypes=prototypes, repeat=repeat)
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line.startswith("{"):
            raise SystemExit(f"the server ended: {line}{self.process.stdout.read()}")
        return json.loads(line)["seconds"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def torch_model(latent, samples):
    """Network, prototypes and head in PyTorch, the same as in models/probpsenn."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    def block(layer, channels):
        return [layer, nn.BatchNorm2d(channels, eps=1e-3, momentum=.01), nn.LeakyReLU(.2)]

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(
                *block(nn.Conv2d(1, 32, 4, 2, 1), 32), *block(nn.Conv2d(32, 32, 4, 2, 1), 32), *block(nn.Conv2d(32, 64, 4, 2, 1), 64),
                *block(nn.Conv2d(64, 256, 4), 256), nn.Conv2d(256, latent, 1), nn.Flatten())
            self.decoder = nn.Sequential(
                nn.Unflatten(1, (latent, 1, 1)), *block(nn.Conv2d(latent, 256, 1), 256), *block(nn.ConvTranspose2d(256, 64, 4), 64),
                *block(nn.ConvTranspose2d(64, 32, 4, 2, 1), 32), *block(nn.ConvTranspose2d(32, 32, 4, 2, 1), 32),
                nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Tanh())
            self.mean = nn.Parameter(torch.randn(CLASSES, latent))
            self.scale = nn.Parameter(.2 + .1 * torch.randn(CLASSES, latent, latent))
            self.head = nn.Parameter(-.5 * torch.eye(CLASSES))

        def factor(self):
            diagonal = F.softplus(torch.diagonal(self.scale, dim1=1, dim2=2)) + 1e-5
            return torch.tril(self.scale, -1) + torch.diag_embed(diagonal)

        def draw(self, factor, n):
            eps = torch.randn(n, CLASSES, latent)
            return self.mean + torch.einsum("kij,skj->ski", factor, eps)

        def logits(self, z, drawn):
            flat = drawn.reshape(-1, latent)
            d = (z * z).sum(1, keepdim=True) + (flat * flat).sum(1) - 2 * z @ flat.T
            return d.reshape(-1, CLASSES) @ self.head

        def loss(self, x, label):
            x = F.interpolate(x, (32, 32), mode="bilinear", align_corners=False)
            z = self.encoder(x)
            factor = self.factor()
            logits = self.logits(z, self.draw(factor, samples))
            nll = F.cross_entropy(logits, label.repeat_interleave(samples))
            reconstruction = F.mse_loss(self.decoder(z), x)
            inverse = torch.linalg.solve_triangular(factor, torch.eye(latent).expand(CLASSES, -1, -1), upper=False)
            u = torch.einsum("kij,bj->bki", inverse, z) - torch.einsum("kij,kj->ki", inverse, self.mean)
            log_det = torch.log(torch.diagonal(factor, dim1=1, dim2=2)).sum(1)
            nlp = .5 * (u * u).sum(2) + log_det + latent / 2 * math.log(2 * math.pi)
            own = nlp.gather(1, label[:, None])
            return nll + 10 * reconstruction + .05 * own.clamp(-1, 10000).mean()

        def forward(self, x, drawn):
            """Class probabilities of pictures: encoder and head alone."""
            x = F.interpolate(x, (32, 32), mode="bilinear", align_corners=False)
            p = torch.softmax(self.logits(self.encoder(x), drawn), 1)
            return p.reshape(x.shape[0], -1, CLASSES).mean(1)

    return Model()


def torch_training(layout, batch=BATCH):
    """A function that takes one training step, in a memory layout of PyTorch."""
    import torch
    torch.manual_seed(1)
    model = torch_model(40, 10).to(memory_format=layout)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, foreach=True)
    x = (2 * torch.rand(batch, 1, 28, 28) - 1).to(memory_format=layout)
    label = torch.randint(0, CLASSES, (batch,))

    def step():
        adam.zero_grad(set_to_none=True)
        loss = model.loss(x, label)
        loss.backward()
        adam.step()
        return loss.item()

    return step


def single_predictions():
    """Functions that classify one picture, S = 50, by name."""
    import numpy
    import onnxruntime
    import torch
    torch.manual_seed(1)
    model = torch_model(40, 10).eval()
    with torch.inference_mode():
        drawn = model.draw(model.factor(), 50)
    x = 2 * torch.rand(1, 1, 28, 28) - 1

    def eager():
        with torch.inference_mode():
            return model(x, drawn)

    class Fixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model
            self.register_buffer("drawn", drawn.clone())

        def forward(self, x):
            return self.model(x, self.drawn)

    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "m.onnx")
        warnings.simplefilter("ignore", DeprecationWarning)  # the exporter that needs no further package
        torch.onnx.export(Fixed().eval(), (x,), path, dynamo=False, opset_version=17)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x.numpy()}
    difference = numpy.abs(session.run(None, feed)[0] - eager().numpy()).max()
    if not difference < 1e-4:
        raise SystemExit(f"ONNX Runtime and PyTorch differ by {difference}")
    return {"PyTorch, encoder and head": eager, "ONNX Runtime, encoder and head": lambda: session.run(None, feed)}


def timed(f, repeat):
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return times


def median(values):
    return statistics.median(values)


def training(server, threads, rounds):
    import torch
    torch.set_num_threads(threads)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    sides = {"Credence": lambda n: server(n, batch=BATCH), "product": lambda n: timed(lambda: a @ b, n)}
    for name, layout in (("PyTorch", torch.contiguous_format), ("PyTorch, channels last", torch.channels_last)):
        step = torch_training(layout)
        timed(step, 3)
        sides[name] = lambda n, step=step: timed(step, n)
    times = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            times[name] += side(4)
    steps = {name: median(t) for name, t in times.items()}
    rate = 2 * 1024**3 / steps.pop("product")
    best = min(steps["PyTorch"], steps["PyTorch, channels last"])
    print(f"\nA product of two 1024 x 1024 matrices runs at {1e-9 * rate:.0f} GFLOP/s (PyTorch, {threads} thread{'s' * (threads > 1)}, in turn "
          f"with the rest); at that rate the convolutions of a step alone take {1e3 * flops() / rate:.1f} ms, {BATCH * rate / flops():.0f} images/s.")
    print(f"\n| joint training, {threads} thread{'s' * (threads > 1)} | ms per step | images/s | of the product's rate | times PyTorch |\n|---|---|---|---|---|")
    for name, t in steps.items():
        print(f"| {name} | {1e3 * t:.1f} | {BATCH / t:.0f} | {100 * flops() / rate / t:.0f} % | {best / t:.2f} |")


def training_on_gpu(binary, torch_device, rounds, batch):
    """Rows of the GPU's table (runtime/gpu_bench_test.go): what, median, against what, its median, ratio, aim."""
    sides = {}
    for name, graphs in (("as a graph", "on"), ("operation by operation", "off")):
        server = Server(binary, CREDENCE_DEVICE="cuda", BENCH_GRAPHS=graphs)
        sides[name] = lambda n, server=server: server(n, batch=batch)
    try:
        import torch
    except ImportError:
        print("without PyTorch there is nobody to compare a training step with")
    else:
        torch.set_default_device(torch_device)
        for name, tf32 in (("PyTorch, strict float32", False), ("PyTorch, as it comes (TF32 convolutions)", True)):
            step = torch_training(torch.contiguous_format, batch)

            def timed_steps(n, step=step, tf32=tf32):
                torch.backends.cudnn.allow_tf32 = tf32
                return timed(step, n)

            timed_steps(10)
            sides[name] = timed_steps
    times = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            times[name] += side(5)
    medians = {name: 1e3 * median(t) for name, t in times.items()}
    ours = medians.pop("as a graph")
    for name, theirs in medians.items():
        aim = "2.00: " + ("reached" if theirs >= 2 * ours else "missed") if name.startswith("PyTorch") and batch == BATCH else "-"
        print(f"| Prob-PSENN, a training step of {batch} pictures, as a graph | {ours:.2f} ms | {name} | {theirs:.2f} ms | {theirs / ours:.2f} | {aim} |")


def prediction(server, threads, rounds):
    import torch
    torch.set_num_threads(threads)
    sides = {
        "Credence, label, entropies, scores, decoder, verdict": lambda n: server(n, kind="predict", samples=50, batch=16),
        "Credence, encoder and head": lambda n: server(n, kind="predict", samples=50, batch=16, labels_only=True),
    }
    for name, f in single_predictions().items():
        timed(f, 50)
        sides[name] = lambda n, f=f: timed(f, n)
    times = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            times[name] += side(200)
    print(f"\n| one picture, S = 50, {threads} thread{'s' * (threads > 1)} | p50, microseconds | p95 |\n|---|---|---|")
    for name, t in times.items():
        print(f"| {name} | {1e6 * median(t):.0f} | {1e6 * statistics.quantiles(t, n=20)[18]:.0f} |")


def growth(server, rounds):
    """How a training step and a prediction grow with each size, the others at their defaults; in turn against the default."""
    print("\n| 1 thread | training step, ms | times default | one prediction, microseconds | times default |\n|---|---|---|---|---|")
    cases = [("default: S 10 (50), 1 per class, D 40, batch 128", {})]
    cases += [(f"S {s} in training and prediction", {"samples": s}) for s in (1, 50, 100, 500)]
    cases += [(f"{k} prototypes per class", {"per_class": k}) for k in (2, 4, 8)]
    cases += [(f"D {d}", {"latent": d}) for d in (10, 20, 80, 160)]
    cases += [(f"batch {b}", {"batch": b}) for b in (16, 32, 64, 256, 512)]
    cases += [(f"{kind} prototypes", {"prototypes": kind}) for kind in ("point", "diag", "mixture")]
    base = None
    steps = {name: [] for name, _ in cases}
    singles = {name: [] for name, _ in cases}
    for _ in range(rounds):
        for name, sizes in cases:
            steps[name] += server(3, **sizes)
            if "batch" not in sizes:
                singles[name] += server(100, **({"kind": "predict", "samples": 50} | sizes | {"batch": 16}))
    for name, _ in cases:
        step, single = median(steps[name]), median(singles[name]) if singles[name] else None
        base = base or (step, single)
        more = f"{1e6 * single:.0f} | {single / base[1]:.2f}" if single else "- | -"
        print(f"| {name} | {1e3 * step:.1f} | {step / base[0]:.2f} | {more} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="one round of everything, to see that it works")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--torch-device", default="cuda", help="where PyTorch runs with --device cuda")
    args = parser.parse_args()
    rounds = 1 if args.quick else args.rounds
    if args.device == "cuda":
        return training_on_gpu(args.server, args.torch_device, rounds, 8 if args.quick else BATCH)
    import onnxruntime
    import torch
    print(f"PyTorch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()}), ONNX Runtime {onnxruntime.__version__}; "
          f"medians of {rounds} rounds in turn")
    for threads in (1, 2):
        server = Server(args.server, threads)
        training(server, threads, rounds)
        prediction(server, threads, rounds)
        if threads == 1:
            growth(server, max(1, rounds // 3))
        server.close()


if __name__ == "__main__":
    main()
