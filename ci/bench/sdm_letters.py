"""LetterRecognition of Debian's r-cran-mlbench as features for SDM.

    usage: sdm_letters.py LetterRecognition.rda DIR

20,000 pictures of capital letters, 16 integers each (Frey and Slate, Machine Learning 6, 1991). The letters U to Z are never
seen in training: they are the foreign rows. Of the others, the first 16,000 rows of the file are for training and
calibration in turn, the rest is the test, as its authors divided it. The features are the integers, scaled to mean 0 and
deviation 1 over the training rows, and their products: SDM's adaptor is affine, and so is the classifier of the
alternatives. Writes NPY matrices and labels, and the names of the classes.
"""

import sys
from pathlib import Path

import numpy as np
import pyreadr

UNSEEN = "UVWXYZ"

table = pyreadr.read_r(sys.argv[1])["LetterRecognition"]
out = Path(sys.argv[2])
letters = table["lettr"].astype(str).to_numpy()
x = table.drop(columns="lettr").to_numpy(dtype=float)
known = ~np.isin(letters, list(UNSEEN))
seen = np.arange(len(x)) < 16000
parts = {"training": known & seen & (np.arange(len(x)) % 2 == 0), "calibration": known & seen & (np.arange(len(x)) % 2 == 1), "test": known & ~seen, "foreign": ~known}


def scale(rows, by):
    return (rows - by.mean(0)) / by.std(0)


x = scale(x, x[parts["training"]])
products = np.stack([x[:, i] * x[:, j] for i in range(16) for j in range(i, 16)], axis=1)
x = np.concatenate([x, scale(products, products[parts["training"]])], axis=1)
names = sorted(set(letters[known]))
for name, rows in parts.items():
    np.save(out / f"{name}-x.npy", x[rows].astype(np.float32))
    np.save(out / f"{name}-y.npy", np.array([names.index(l) if l in names else -99 for l in letters[rows]], dtype=np.int64))
(out / "names").write_text(",".join(names))
print(f"{', '.join(f'{rows.sum()} {name}' for name, rows in parts.items())} rows, {x.shape[1]} features, classes {names[0]} to {names[-1]}, foreign {UNSEEN[0]} to {UNSEEN[-1]}")
