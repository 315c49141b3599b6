# shellcheck shell=bash
# nvcc.sh: finds NVIDIA's compiler, or installs it. Sourced after common.sh and setup.sh.

nvcc_wheels=build/nvcc/nvidia/cu13/bin # where install_nvcc_pypi leaves it

# find_nvcc: PATH has nvcc afterwards; fails where there is none. PATH's own comes first, then the newest of NVIDIA's
# installer, then what an earlier run unpacked.
find_nvcc() {
  local dir
  if have nvcc; then return; fi
  while read -r dir; do
    if [[ -x $dir/nvcc ]]; then
      PATH=$PATH:$dir
      return
    fi
  done < <(printf '%s\n' /usr/local/cuda/bin; printf '%s\n' /usr/local/cuda-*/bin | sort -Vr; printf '%s\n' /opt/cuda/bin "$root/$nvcc_wheels")
  return 1
}

# install_nvcc_debian: nvidia-cuda-toolkit, as root. It is in the non-free component and needs contrib, which most systems
# do not list, so apt is given a copy of the system's sources with both added, and the system's own stay as they are.
install_nvcc_debian() {
  local private=$root/build/apt options file
  have apt-get || die "no apt-get: ci/cuda --pypi needs none"
  [[ $(id -u) -eq 0 ]] || die "installing nvidia-cuda-toolkit needs root; ci/cuda --pypi does not"
  mkdir -p "$private/sources" "$private/lists/partial" "$logs"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [[ -f $file ]] || continue
    sed -E '/^(Components:|deb ).*\bmain\b/ { s/[ \t]+(contrib|non-free)([ \t]|$)/ /g; s/[ \t]*$/ contrib non-free/ }' "$file" >"$private/sources/$(basename "$file")"
  done
  [[ ! -f $private/sources/sources.list ]] || mv "$private/sources/sources.list" "$private/sources/main.list"
  options=(-o "Dir::Etc::SourceList=/dev/null" -o "Dir::Etc::SourceParts=$private/sources" -o "Dir::State::Lists=$private/lists")
  export DEBIAN_FRONTEND=noninteractive
  say "installing nvidia-cuda-toolkit (non-free, about 1.6 GB)"
  { apt_get "${options[@]}" update && apt_get "${options[@]}" install -y --no-install-recommends nvidia-cuda-toolkit; } >"$logs/apt-nvcc.log" 2>&1 ||
    { tail "$logs/apt-nvcc.log" >&2; die "apt-get could not install nvidia-cuda-toolkit; all its output: $logs/apt-nvcc.log"; }
  rm -rf "$private"
}

# install_nvcc_pypi: NVIDIA's wheels, unpacked into one tree, which is how they are meant to lie; nothing else on the
# system changes. About 130 MB.
install_nvcc_pypi() {
  local tree=$root/build/nvcc wheel names=()
  python3 -m pip --version >/dev/null 2>&1 || die "python3 with pip is needed (Debian: python3-pip)"
  for wheel in nvcc crt runtime cuobjdump; do names+=("nvidia-cuda-$wheel==13.*"); done
  names+=("nvidia-nvvm==13.*" "nvidia-cuda-cccl==13.*")
  rm -rf "$tree"
  mkdir -p "$tree/wheels"
  say "fetching ${names[*]}"
  python3 -m pip download --quiet --no-deps --only-binary :all: -d "$tree/wheels" "${names[@]}"
  for wheel in "$tree"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$tree"; done
  rm -rf "$tree/wheels"
  chmod -R a+x "$tree/nvidia/cu13/bin" "$tree/nvidia/cu13/nvvm/bin" # zip files keep no modes for Python
}
