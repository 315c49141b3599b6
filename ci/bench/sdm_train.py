"""An SDM training epoch against the same loop in PyTorch and FAISS, and the scoring of single rows from 64 goroutines.

    usage: sdm_train.py SERVER [--rounds N]

SERVER is the test binary of models/sdm (`go test -c`). The epoch is that of the research code: shuffled mini-batches of 50
through two affine maps with Adam, then exemplars of all training and calibration rows, FAISS IndexFlatL2 over the training
exemplars with k = 2048 for both, and q by a running product of the agreement. Both sides take turns epoch by epoch, on one
thread each; figures are medians.
"""
import json
import os
import statistics
import subprocess
import sys
import time

import faiss
import numpy as np
import torch

ROUNDS = int(sys.argv[sys.argv.index("--rounds") + 1]) if "--rounds" in sys.argv else 3
torch.set_num_threads(1)
faiss.omp_set_num_threads(1)


class Server:
    def __init__(self, binary, threads):
        self.process = subprocess.Popen([binary, "-test.run", "^TestServeBenchmarks$", "-credence.bench", "-test.timeout", "2h"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=os.environ | {"CREDENCE_THREADS": str(threads)}, cwd="models/sdm")

    def __call__(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line.startswith("{"):
            raise SystemExit(f"the server ended: {line}{self.process.stdout.read()}")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def rows(n, d, seed):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = rng.normal(size=(n, d)).astype(np.float32)
    x[:, 0] += 4 * y - 2
    return torch.from_numpy(x), torch.from_numpy(y)


class Loop:
    """The same epoch in PyTorch and FAISS."""

    def __init__(self, n, d, m, batch):
        self.x, self.y = rows(n, d, 1)
        self.cx, self.cy = rows(n, d, 2)
        self.batch = batch
        self.net = torch.nn.Sequential(torch.nn.Linear(d, m), torch.nn.Linear(m, 2))
        self.adam = torch.optim.Adam(self.net.parameters(), lr=1e-5)
        self.q, self.d = torch.full((n,), np.e - 2), torch.ones(n)

    def forward(self, x):
        with torch.no_grad():
            h = torch.cat([self.net[0](part) for part in x.split(1024)])
            return h, self.net[1](h).argmax(1)

    def match(self, index, h, predictions, support, identity):
        distances, neighbours = index.search(h.numpy(), 2048)
        if identity:
            distances, neighbours = distances[:, 1:], neighbours[:, 1:]
        neighbours = torch.from_numpy(neighbours)
        agree = (self.y[neighbours] == support[neighbours]) & (support[neighbours] == predictions[:, None])
        return agree.long().cumprod(1).sum(1).float(), np.maximum(distances[:, 0], 0)

    def quantile(self, q, d0, y):
        cdfs = [np.sort(d0[(y.numpy() == c) & (q.numpy() > 0)]) for c in range(2)]
        return torch.from_numpy(np.min([1 - np.searchsorted(c, d0) / max(len(c), 1) for c in cdfs], axis=0).astype(np.float32))

    def epoch(self):
        order = torch.randperm(len(self.y))
        for part in order.split(self.batch):
            base = torch.log(2 + self.q[part])
            z = self.net(self.x[part]) * (self.d[part] * base)[:, None]
            loss = (torch.nn.functional.cross_entropy(z, self.y[part], reduction="none") / base).mean()
            self.adam.zero_grad()
            loss.backward()
            self.adam.step()
        h, support = self.forward(self.x)
        ch, predictions = self.forward(self.cx)
        index = faiss.IndexFlatL2(h.shape[1])
        index.add(h.numpy())
        self.q, d0 = self.match(index, h, support, support, True)
        self.d = self.quantile(self.q, d0, self.y)
        q, d0 = self.match(index, ch, predictions, support, False)
        self.quantile(q, d0, self.cy)


def main():
    one = Server(sys.argv[1], 1)
    print("| rows for training, and for calibration | features | exemplar | Credence s/epoch | PyTorch + FAISS s/epoch | times as fast |")
    print("|---|---|---|---|---|---|")
    for n, d, m in ((5000, 1024, 1000), (10000, 41, 64)):
        loop = Loop(n, d, m, 50)
        loop.epoch()
        mine, theirs = [], []
        for _ in range(ROUNDS):
            mine.append(statistics.median(one(kind="epoch", rows=n, dimension=d, exemplar=m, batch=50, repeat=1)["seconds"]))
            start = time.perf_counter()
            loop.epoch()
            theirs.append(time.perf_counter() - start)
        ratio = statistics.median(b / a for a, b in zip(mine, theirs))
        print(f"| {n} | {d} | {m} | {statistics.median(mine):.2f} | {statistics.median(theirs):.2f} | {ratio:.2f} |", flush=True)
    one.close()
    both = Server(sys.argv[1], os.cpu_count())
    print(f"\nsingle rows through the scheduler, {os.cpu_count()} threads, {both(kind='serve', rows=100, dimension=4, exemplar=4, goroutines=1, repeat=1)['device']}")
    print("\n| support | features | exemplar | goroutines | rows/s | median ms | p99 ms |")
    print("|---|---|---|---|---|---|---|")
    for n, d, m in ((20000, 41, 64), (20000, 1024, 1000)):
        for callers, repeat in ((1, 30), (64, 30)):
            r = both(kind="serve", rows=n, dimension=d, exemplar=m, goroutines=callers, repeat=repeat)
            s = r["seconds"]
            print(f"| {n} | {d} | {m} | {callers} | {len(s) / r['total']:.0f} | {1e3 * s[len(s) // 2]:.2f} | {1e3 * s[min(len(s) - 1, int(.99 * len(s)))]:.2f} |", flush=True)
    both.close()


main()
