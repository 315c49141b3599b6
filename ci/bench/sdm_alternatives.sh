#!/usr/bin/env bash
# SDM beside six simple alternatives: MNIST's latent vectors with clothes as foreign rows, and letters with six letters never seen
set -euo pipefail
mnist=build/sdm-mnist # of the benchmark sdm_mnist
if [[ ! -f $mnist/latents+reconstruction.json ]]; then bash ci/bench/sdm_mnist.sh >/dev/null; fi

# beside MODEL TRAINING CALIBRATION TEST NAME=FOREIGN PAGE: the tables, without those of single regions
beside() {
  build/credence sdm evaluate --model "$1" --training "$2" --calibration "$3" --in "$4" --ood "$5" --html "$6" | sed -n '1p;/^at alpha/,$p'
}

echo "== MNIST: 41 features (latent vector and reconstruction error), 15000 rows each for training and calibration, 10000 test digits"
beside "$mnist/latents+reconstruction.sdmkitmodel" $mnist/held-t.sdmdataset $mnist/held-c.sdmdataset $mnist/test.sdmdataset \
  clothes=$mnist/foreign.sdmdataset build/sdm-alternatives-mnist.html

letters=build/letters
mkdir -p $letters
if [[ ! -x $letters/venv/bin/python ]]; then
  python3 -m venv $letters/venv
  $letters/venv/bin/pip install --quiet numpy pandas pyreadr
fi
if [[ ! -d $letters/package ]]; then
  (cd $letters && apt-get -q -o APT::Sandbox::User=root download r-cran-mlbench >/dev/null && dpkg-deb -x r-cran-mlbench_*.deb package)
fi
echo
echo "== LetterRecognition (Debian's r-cran-mlbench)"
$letters/venv/bin/python ci/bench/sdm_letters.py "$(find $letters/package -name LetterRecognition.rda)" $letters
for part in training calibration test foreign; do
  build/credence sdm convert --in $letters/$part-x.npy --labels $letters/$part-y.npy --out $letters/$part.sdmdataset \
    --class-names "$(cat $letters/names)" --fingerprint letters-degree-2 >/dev/null
done
build/credence sdm train --training $letters/training.sdmdataset --calibration $letters/calibration.sdmdataset --out $letters/m.sdmkitmodel \
  --exemplar-dimension 256 --epochs 100 --learning-rate 3e-3 --alpha-resolution .01 --seed 1 | tail -n +2 | grep -v ' model is '
beside $letters/m.sdmkitmodel $letters/training.sdmdataset $letters/calibration.sdmdataset $letters/test.sdmdataset \
  unseen=$letters/foreign.sdmdataset build/sdm-alternatives-letters.html
