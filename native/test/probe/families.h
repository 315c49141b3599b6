/* Stands in for the list that CMake makes: the core alone, with the probe ops of probe.c. */
#define CR_FAMILIES(X, isa) X(probe, isa)
