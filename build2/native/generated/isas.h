/* Made by native/cpu/CMakeLists.txt. */
#define CR_ISAS(X) X(generic) X(avx2) X(avx512)
