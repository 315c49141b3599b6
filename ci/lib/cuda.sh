# shellcheck shell=bash
# cuda.sh: the steps of ci/cuda. $cuda is the build's directory, $library the CUDA backend in it. Sourced after checks.sh.

build_cuda() {
  configure "$cuda" -DCREDENCE_CUDA=ON -DCREDENCE_WERROR=ON -DCMAKE_CUDA_COMPILER="$(command -v nvcc)"
  cmake --build "$cuda" "$@"
}

# shellcheck disable=SC2016 # awk's own variables
kernels_with_a_stack='NR == FNR { sub(/ *#.*/, ""); if ($0 != "") allowed[$1] = $2; next }
  $3 > 0 { for (a in allowed) if (index($4, a) && $3 <= allowed[a]) next; print }'

# Spilled registers and arrays that are indexed by what is only known at run time lie in a stack in device memory, and
# make a kernel slow without a word. Those that may have one are in ci/kernels-with-a-stack.txt.
check_stacks() {
  local report=$logs/kernels
  have cuobjdump || skip "no cuobjdump beside nvcc"
  cuobjdump --dump-resource-usage "$library" | awk '
    $1 == "arch" { arch = $3 }
    $1 == "Function" { kernel = $2 }
    /REG:/ && kernel != "" {
      split($0, part, /[: ]+/)
      for (k in part) if (part[k] == "REG") registers = part[k + 1]; else if (part[k] == "STACK") stack = part[k + 1]; else if (part[k] == "LOCAL") local = part[k + 1]
      print arch, registers, stack + local, kernel
      kernel = ""
    }' | sort -u >"$report"
  [[ -s $report ]] || { say "cuobjdump reports no kernels of $library"; return 1; }
  say "$(wc -l <"$report") kernels; the one with most registers: $(sort -k2,2nr "$report" | sed -n 1p)"
  none "These kernels have a stack (architecture, registers, bytes of stack, name), which ci/kernels-with-a-stack.txt does not allow." \
    awk "$kernels_with_a_stack" ci/kernels-with-a-stack.txt "$report"
}

# What runs on an A100 and an H100 or H200 is machine code; PTX is for what comes after.
check_machine_code() {
  local elf ptx arch
  have cuobjdump || skip "no cuobjdump beside nvcc"
  elf=$(cuobjdump --list-elf "$library")
  ptx=$(cuobjdump --list-ptx "$library")
  say "$elf" "$ptx"
  for arch in sm_80 sm_90; do
    [[ $elf == *$arch* ]] || { say "no machine code for $arch"; return 1; }
  done
  [[ $ptx == *sm_90* ]] || { say "no PTX of compute_90"; return 1; }
}

# NVIDIA's runtime is linked in; cuBLAS and the driver are looked for at run time, so that the library loads without them.
check_needed() {
  objdump -p "$library" | awk '$1 == "NEEDED" { print $2 }' | tee "$logs/needed"
  none "The library must need nothing but the C and C++ libraries." \
    matching -vE '^(libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s|ld-linux-x86-64)\.so' "$logs/needed"
}

# The library contains NVIDIA's runtime, which opens files and reads the environment; so what our own part uses is read
# from its objects. Beside what the CPU backend may use there is NVIDIA's runtime, and what nvcc adds to what it compiles.
check_cuda_symbols() {
  local allowed=(ci/undefined-symbols.txt ci/undefined-symbols-cuda.txt) all
  mapfile -t all < <(find "$cuda"/native/cuda "$cuda"/native/CMakeFiles/credence_{core,rules}.dir -name '*.o')
  nm --defined-only "${all[@]}" | awk 'NF == 3 { print $3 }' | sort -u >"$logs/defined"
  check_objects '*.c.o' "${allowed[@]}"
  check_objects '*.cu.o' "${allowed[@]}" ci/undefined-symbols-nvcc.txt
}

# check_objects NAMES FILE...: what objects of these names use and none defines must match a pattern of the files.
check_objects() {
  local pattern=$1 objects
  shift
  mapfile -t objects < <(find "$cuda"/native/cuda "$cuda"/native/CMakeFiles/credence_{core,rules}.dir -name "$pattern")
  ((${#objects[@]} > 2))
  nm --undefined-only "${objects[@]}" | awk '$1 == "U" { print $2 }' | sort -u | comm -23 - "$logs/defined" >"$logs/undefined"
  [[ -s $logs/undefined ]]
  none "The CUDA backend's objects $pattern use these symbols, which $* do not allow." \
    matching -vxE -f <(sed -E 's/ *#.*//; /^$/d' "$@") "$logs/undefined"
}

# Without a device `cuda` is refused for what is missing, and `auto` says which device it took instead.
check_refusal() {
  local out why='no NVIDIA driver|the NVIDIA driver.s cuInit fails|there is no CUDA device'
  if [[ -e /proc/driver/nvidia/version ]]; then skip "this machine has an NVIDIA device; ci/gpu is the test there"; fi
  export CREDENCE_BACKEND_DIR=$root/$cuda/lib
  out=$(build/credence devices)
  say "$out"
  grep -q '^Chosen: *cpu ' <<<"$out"
  grep -qE "$why" <<<"$out"
  if out=$(CREDENCE_DEVICE=cuda build/credence devices 2>&1); then
    say "CREDENCE_DEVICE=cuda was taken for granted:" "$out"
    return 1
  fi
  grep -qE "$why" <<<"$out"
}
