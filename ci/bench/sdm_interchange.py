#!/usr/bin/env python3
"""SDM models and data between Credence and reexpress_sdm, another program of the same formats. Prints what was compared.

    usage: sdm_interchange.py check CREDENCE [--directory DIR]
           sdm_interchange.py fixtures DIR

check trains a model on either side and scores the same rows on both with each; every field of every score must agree within
1e-6 absolute plus 1e-5 relative (squared distances: and the rounding of their expansion), integers and names exactly. Data go through all forms and back on both sides. It ends
with status 1 if anything differs.

fixtures makes models/sdm/testdata/interchange: a small model that reexpress_sdm trained, rows, and its scores of them.
Needs reexpress_sdm, which needs torch and numpy.
"""

import argparse
import contextlib
import io
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import reexpress_sdm
from reexpress_sdm.bundle import DatasetBundle, write_dataset_bundle
from reexpress_sdm.cli import main as sdm

CLASSES, FEATURES, EXEMPLARS = ("flat", "upright", "slanted"), 6, 8
EPOCHS = 12
ABSOLUTE, RELATIVE = 1e-6, 1e-5


def rows(n, seed, name, spread=1.0, shift=0.0):
    """A mixture with some duplicates, some rows far away, and documents and fields that nobody knows."""
    random = np.random.default_rng(seed)
    for i in range(n):
        label = i % len(CLASSES)
        x = random.normal(scale=spread, size=FEATURES)
        x[label] += 4.5
        x += shift
        if i % 17 == 16:
            x = last
        last = x
        row = {"id": f"{name}{i}", "label": label, "embedding": x[:4].astype("float32"), "attributes": x[4:].astype("float32")}
        if i % 5 == 0:
            row |= {"document": f"row <{i}> é", "metadata": {"n": i, "big": 2**64 - 1}, "source": {"page": [i, 0.5]}}
        yield row


def make_data(directory):
    """Data of the Python side: bundles of training, calibration and test rows."""
    header = {"class_names": CLASSES, "representation": {"fingerprint": "interchange-v1", "provider": "test"}}
    write_dataset_bundle(directory / "training.sdmdataset", rows(150, 1, "t"), **header)
    write_dataset_bundle(directory / "calibration.sdmdataset", rows(150, 2, "c"), **header)
    test = [*rows(30, 3, "x"), *rows(6, 4, "wide", spread=4), *rows(6, 5, "far", shift=30)]
    test[1]["label"], test[2]["label"] = -1, -99
    write_dataset_bundle(directory / "test.sdmdataset", test, **header)


def python(*arguments):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        status = sdm([str(a) for a in arguments])
    if status:
        sys.exit(f"sdm {' '.join(map(str, arguments))} failed: {said.getvalue()}")


def train_there(directory, out):
    python("train", "--training", directory / "training.sdmdataset", "--calibration", directory / "calibration.sdmdataset", "--output", out, "--number_of_classes", len(CLASSES), "--exemplar_dimension", EXEMPLARS,
           "--epochs", EPOCHS, "--learning_rate", 0.02, "--alpha_resolution", 0.05, "--device", "cpu", "--seed", 7)


def score_there(model, data, out):
    python("score", "--model", model, "--input", data, "--output", out, "--overwrite")


def read_lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def differences(mine, theirs, slack, path=""):
    """What differs, as text; a field that only one side has differs too. Squared distances may differ by slack besides."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in sorted(mine.keys() | theirs.keys()):
            if key not in mine or key not in theirs:
                yield f"{path}.{key} is only {'here' if key in mine else 'there'}"
            else:
                yield from differences(mine[key], theirs[key], slack, f"{path}.{key}")
    elif isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        for i, (a, b) in enumerate(zip(mine, theirs)):
            yield from differences(a, b, slack, f"{path}[{i}]")
    elif isinstance(mine, (int, float)) and isinstance(theirs, (int, float)) and not isinstance(mine, bool):
        tolerance = ABSOLUTE + RELATIVE * abs(theirs) + (slack if path.endswith((".d0", ".squaredDistance")) else 0)
        if isinstance(mine, int) and isinstance(theirs, int) and mine != theirs or abs(mine - theirs) > tolerance:
            yield f"{path}: {mine} here, {theirs} there"
    elif mine != theirs:
        yield f"{path}: {mine!r} here, {theirs!r} there"


# What reexpress_sdm copies from the row into its score; ours has the score alone.
COPIED = {"embedding", "attributes", "document", "metadata", "source"}


def distance_slack(model):
    """How far the Python side's squared distances may be off: it computes them in float32 as |a|^2 + |b|^2 - 2ab, with the
    first support row as origin; ours are sums of squared differences."""
    support = np.fromfile(model / "support.f32", "<f4").reshape(-1, EXEMPLARS).astype(float)
    return 16 * 2**-24 * ((support - support[0]) ** 2).sum(1).max()


def compare_scores(name, mine, theirs, slack):
    wrong, fields = [], 0
    if [row["id"] for row in mine] != [row["id"] for row in theirs]:
        wrong.append("the rows are not the same")
    for a, b in zip(mine, theirs):
        b = {key: value for key, value in b.items() if key not in COPIED}
        a = {key: value for key, value in a.items() if key not in COPIED}
        fields += len(b)
        wrong += [f"{a['id']}{d}" for d in differences(a, b, slack)]
    accepted = sum(row["centroidRegionAlpha"] > 0 for row in theirs), sum(row["lowerRegionAlpha"] > 0 for row in theirs)
    print(f"{name}: {len(theirs)} rows ({accepted[0]} accepted, {accepted[1]} by the lower rule), {fields} fields, {len(wrong)} differ")
    for line in wrong[:20]:
        print("  " + line)
    return len(wrong)


def compare_data(name, a, b):
    wrong = []
    a, b = list(a), list(b)
    if len(a) != len(b):
        wrong.append(f"{len(a)} rows and {len(b)}")
    for x, y in zip(a, b):
        x, y = ({key: np.float32(value).tolist() if key in ("embedding", "attributes") else value for key, value in row.items()} for row in (x, y))
        wrong += [] if x == y else [f"{x} and {y}"]
    print(f"{name}: {len(a)} rows, {len(wrong)} differ")
    for line in wrong[:5]:
        print("  " + line)
    return len(wrong)


def check(credence, directory):
    def here(*arguments):
        return subprocess.run([credence, *map(str, arguments)], check=True, capture_output=True, text=True).stdout

    print(f"reexpress_sdm {reexpress_sdm.__version__}, {here('version').splitlines()[0]}")
    make_data(directory)
    bad = 0
    for model, train in (("there", lambda out: train_there(directory, out)), ("here", lambda out: here(
            "sdm", "train", "--training", directory / "training.sdmdataset", "--calibration", directory / "calibration.sdmdataset", "--out", out, "--exemplar-dimension", EXEMPLARS,
            "--epochs", EPOCHS, "--learning-rate", 0.02, "--alpha-resolution", 0.05, "--seed", 7))):
        path = directory / f"{model}.sdmkitmodel"
        train(path)
        python("artifact", "validate", "--model", path, "--output", directory / "validated.json")
        here("sdm", "validate", path)
        score_there(path, directory / "test.sdmdataset", directory / "theirs.jsonl")
        here("sdm", "score", "--model", path, "--in", directory / "test.sdmdataset", "--out", directory / "mine.jsonl", "--nearest", 25)
        bad += compare_scores(f"model trained {model}", read_lines(directory / "mine.jsonl"), read_lines(directory / "theirs.jsonl"), distance_slack(path))

    source = DatasetBundle.open(directory / "test.sdmdataset")
    here("sdm", "convert", "--in", directory / "test.sdmdataset", "--out", directory / "here.jsonl")
    here("sdm", "convert", "--in", directory / "here.jsonl", "--out", directory / "here.sdmdataset", "--class-names", ",".join(CLASSES))
    python("dataset", "validate", "--input", directory / "here.sdmdataset", "--output", directory / "validated.json")
    python("dataset", "convert", "--input", directory / "here.sdmdataset", "--output", directory / "there.jsonl")
    here("sdm", "validate", directory / "there.jsonl", directory / "test.sdmdataset", directory / "training.sdmdataset")
    bad += compare_data("data through both programs and all forms", source.iter_rows(), DatasetBundle.open(directory / "here.sdmdataset").iter_rows())
    bad += compare_data("JSON Lines of both", read_lines(directory / "here.jsonl"), read_lines(directory / "there.jsonl"))
    return bad


def fixtures(directory):
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        make_data(work)
        train_there(work, work / "model.sdmkitmodel")
        score_there(work / "model.sdmkitmodel", work / "test.sdmdataset", work / "all.jsonl")
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        for name in ("model.sdmkitmodel", "test.sdmdataset"):
            shutil.copytree(work / name, directory / name)
        with (directory / "scores.jsonl").open("w") as out:
            for row in read_lines(work / "all.jsonl"):
                row = {key: value for key, value in row.items() if key not in COPIED}
                row["nearestSupportMatches"] = row["nearestSupportMatches"][:5]
                out.write(json.dumps(row, separators=(",", ":")) + "\n")
    print(f"written to {directory}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("check")
    command.add_argument("credence")
    command.add_argument("--directory", type=Path)
    commands.add_parser("fixtures").add_argument("directory", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "fixtures":
        return fixtures(arguments.directory)
    if arguments.directory:
        return check(arguments.credence, arguments.directory)
    with tempfile.TemporaryDirectory() as directory:
        return check(arguments.credence, Path(directory))


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
