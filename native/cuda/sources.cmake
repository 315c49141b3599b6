# What the CUDA backend with kernels is made of; nvcc compiles it, and the host's compilers for the emulator of the tests.
# driver.c is apart: the emulator has its own.
set(CREDENCE_CUDA_C backend blas device error families graph memory stream)
list(TRANSFORM CREDENCE_CUDA_C PREPEND ${PROJECT_SOURCE_DIR}/native/cuda/)
list(TRANSFORM CREDENCE_CUDA_C APPEND .c)

# Kernels: the core's own, what families share, and a file per family, or several.
set(CREDENCE_CUDA_SHARED args check probe)
set(CREDENCE_CUDA_PARTS # of families
  ffn_down ffn_select ffn_up match_codes match_direct match_screen match_settle)
set(CREDENCE_CUDA_CU ${CREDENCE_CUDA_SHARED} ${CREDENCE_FAMILIES} ${CREDENCE_CUDA_PARTS})
list(TRANSFORM CREDENCE_CUDA_CU PREPEND ${PROJECT_SOURCE_DIR}/native/cuda/)
list(TRANSFORM CREDENCE_CUDA_CU APPEND .cu)

# cuda_families.h: CU_FAMILIES(X) is X(activation) X(arg) ...
set(text "/* Made by native/cuda/sources.cmake. */\n#define CU_FAMILIES(X)")
foreach(family IN LISTS CREDENCE_FAMILIES)
  string(APPEND text " X(${family})")
endforeach()
file(GENERATE OUTPUT ${CREDENCE_GENERATED}/cuda_families.h CONTENT "${text}\n")
