"""A table of two evaluations of `credence sdm evaluate`, of digits and of clothes."""
import json
import math
import sys

name, digits, clothes = sys.argv[1:]
with open(digits) as f:
    digits = json.load(f)
with open(clothes) as f:
    clothes = json.load(f)["outOfDistribution"]
print(f"{name}: accuracy without rejection {digits['accuracy']:.4f}, AURC {digits['aurc']:.5f}")
for rule in ("centroid", "lower"):
    alphas = digits[rule]["perAlphaCumulative"]
    for wanted in (0.99, 0.95):
        # a level at which no region formed is served by the next above
        at = max((i for i, a in enumerate(alphas) if a["alpha"] >= wanted), default=None)
        if at is None:
            print(f"  alpha {wanted} {rule:8}: no region, nothing accepted, nothing claimed")
            continue
        a = alphas[at]
        foreign = clothes[f"{rule}AdmissionCounts"][at] / clothes["rows"]
        cells = [c for c in a["byTrueClass"] if c["count"]]
        if not cells:
            print(f"  alpha {wanted} {rule:8}: nothing accepted, nothing claimed; clothes {foreign:.4f}")
            continue
        least = min(cells, key=lambda c: c["accuracy"])
        error = math.sqrt(wanted * (1 - wanted) / least["count"])
        predicted = min(c["accuracy"] for c in a["byPrediction"] if c["count"])
        print(f"  alpha {wanted} {rule:8}: accepted {a['admission']:.4f}, right {a['accuracy']:.4f}, least true class {least['accuracy']:.4f} of "
              f"{least['count']} (error {error:.4f}), least prediction {predicted:.4f}; clothes {foreign:.4f}; rejected {a['rejectedBecause']}")
