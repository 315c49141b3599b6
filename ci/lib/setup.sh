# shellcheck shell=bash
# setup.sh: finds what the build needs and, as root on a Debian-like system, installs what is missing. Sourced after
# common.sh.

jobs=$(nproc 2>/dev/null || echo 2)

# set_up PROVISION...: an environment in which the build works. A provision is a word that provision_packages knows.
set_up() {
  set_up_environment
  require_go
  set_up_packages "$@"
  say "set-up: $(cd "$root" && go env GOVERSION), gcc $(gcc -dumpfullversion), OpenBLAS $(pkg-config --modversion openblas), $jobs processors"
}

# A container or a chroot may have neither HOME nor a locale, and may run as root over files of another user, where git
# refuses to answer and with it Go's stamping of the binary.
set_up_environment() {
  if [[ -z ${HOME:-} ]]; then
    HOME=$(getent passwd "$(id -u)" 2>/dev/null | cut -d: -f6 || true)
    export HOME=${HOME:-/tmp}
  fi
  export LC_ALL=C.UTF-8
  export PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  local dir
  for dir in /usr/local/go/bin /usr/lib/go/bin "$HOME/go/bin" /snap/bin; do
    if ! have go && [[ -x $dir/go ]]; then PATH=$dir:$PATH; fi
  done
  if have go; then
    GOFLAGS="$(go env GOFLAGS) -buildvcs=false"
    export GOFLAGS
  fi
}

require_go() {
  local want got
  want=$(awk '$1 == "go" { print $2; exit }' "$root/go.mod")
  have go || die "Go $want or newer is needed and no go command was found in PATH or /usr/local/go/bin: see https://go.dev/doc/install"
  got=$(cd "$root" && go env GOVERSION 2>&1) || die "Go $want or newer is needed: $got"
}

# provision_packages PROVISION: prints the Debian packages that supply it, or nothing where it is there already.
# Whether it works is what is asked, not whether a package is installed: Debian's gcc comes without a C library's
# headers when recommended packages are left out.
provision_packages() {
  case $1 in
    compiler) compiles '#include <stdio.h>' || echo gcc libc6-dev ;;
    c++) have g++ && g++ -fsyntax-only -x c++ - <<<'#include <functional>' >/dev/null 2>&1 || echo g++ ;;
    cmake) have cmake || echo cmake ;;
    ninja) have ninja || echo ninja-build ;;
    openblas) { have pkg-config && pkg-config --exists openblas; } || echo pkg-config libopenblas-dev ;;
    certificates) [[ -s ${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt} ]] || echo ca-certificates ;;
    clang-format) [[ -n $(clang_format) ]] || echo clang-format-14 ;;
    python) python3 -c 'import ctypes' >/dev/null 2>&1 || echo python3 ;;
    *) die "set_up: no provision is called $1" ;;
  esac
}

# compiles TEXT: does the C compiler take this file?
compiles() { have gcc && gcc -fsyntax-only -x c - <<<"$1" >/dev/null 2>&1; }

# clang_format: the name of clang-format 14, or nothing. Each major version lays code out in its own way, so one is
# fixed; it is that of Debian 12, and Ubuntu 22.04 and 24.04 have it too.
clang_format() {
  local c
  for c in clang-format-14 clang-format; do
    if have "$c" && [[ $("$c" --version) =~ version\ 14\. ]]; then
      echo "$c"
      return
    fi
  done
}

# Provisions without which everything but one step can run.
optional_provisions=' clang-format python '

set_up_packages() {
  local provision packages needed=() wanted=() lacking
  for provision in "$@"; do
    packages=$(provision_packages "$provision")
    read -ra lacking <<<"$packages"
    if [[ $optional_provisions == *" $provision "* ]]; then wanted+=("${lacking[@]}"); else needed+=("${lacking[@]}"); fi
  done
  if ((${#needed[@]} + ${#wanted[@]} == 0)); then return; fi

  local install="apt-get install -y --no-install-recommends"
  if ! have apt-get; then
    if ((${#needed[@]} == 0)); then return; fi
    die "missing here are what Debian calls: ${needed[*]}. Install them as this system does and run again"
  fi
  if [[ $(id -u) -ne 0 ]]; then
    if ((${#needed[@]} == 0)); then return; fi
    die "packages are missing; run this, then $script again:
  sudo apt-get update && sudo $install ${needed[*]} ${wanted[*]}"
  fi

  local begun log=$logs/apt.log package
  mkdir -p "$logs"
  begun=$(now)
  export DEBIAN_FRONTEND=noninteractive
  apt_get update >"$log" 2>&1 || { tail "$log" >&2; die "apt-get update failed; all its output: $log"; }
  for package in "${wanted[@]}"; do # this release may not have an optional one
    if apt-cache show "$package" >/dev/null 2>&1; then needed+=("$package"); fi
  done
  if ((${#needed[@]} == 0)); then return; fi
  say "set-up: $install ${needed[*]}"
  apt_get install -y --no-install-recommends "${needed[@]}" >>"$log" 2>&1 ||
    { tail "$log" >&2; die "apt-get install failed; all its output: $log"; }
  say "set-up: installed in $(seconds $(($(now) - begun))) s"
}

apt_get() { apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 "$@" </dev/null; }
