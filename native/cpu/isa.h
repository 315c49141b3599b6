/* isa.h: one source, several instruction sets. CMake compiles every family file once per set with CR_ISA defined to
 * its name (generic, avx2, avx512) and the matching compiler flags; CR_NAME(x) makes the symbols distinct. The tables
 * are gathered in isa_select.c and one set is chosen when the device is opened. */
#ifndef CREDENCE_CPU_ISA_H
#define CREDENCE_CPU_ISA_H

#ifndef CR_ISA
#error "CR_ISA is set by CMake"
#endif
#define CR_CAT2(a, b) a##_##b
#define CR_CAT(a, b) CR_CAT2(a, b)
#define CR_NAME(x) CR_CAT(x, CR_ISA)

/* Ends a family file: its op rows. CR_FAMILY(matmul, {CREDENCE_OP_MATMUL, .scratch = scratch, .run = run}) */
#define CR_FAMILY(family, ...) const cr_op_row CR_NAME(cr_family_##family)[] = {__VA_ARGS__, {.run = NULL}};

#endif
