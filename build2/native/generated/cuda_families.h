/* Made by native/cuda/sources.cmake. */
#define CU_FAMILIES(X)
