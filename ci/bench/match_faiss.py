#!/usr/bin/env python3
"""FAISS's exhaustive index over random rows, searching whenever a line comes in; prints the processor seconds it took.

    usage: match_faiss.py QUERIES ROWS DIMENSIONS    (pip install faiss-cpu; started by match.sh's benchmark)

One thread; k = 2048, which is how the SDM research code asks how far a match reaches.
"""

import os
import sys
import time

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import faiss  # noqa: E402  (reads the environment)
import numpy as np  # noqa: E402

queries, rows, d = (int(a) for a in sys.argv[1:4])
faiss.omp_set_num_threads(1)
rng = np.random.default_rng(0)
index = faiss.IndexFlatL2(d)
for at in range(0, rows, 10000):
    index.add(rng.standard_normal((min(10000, rows - at), d), dtype=np.float32))
x = rng.standard_normal((queries, d), dtype=np.float32)
print(f"FAISS {faiss.__version__}", flush=True)
for _ in sys.stdin:
    start = time.process_time()
    index.search(x, 2048)
    print(time.process_time() - start, flush=True)
