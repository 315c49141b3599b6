/* rules.h: one rule per op, cr_rule_NAME, in the file of its family; call.h says what a rule proves. */
#ifndef CREDENCE_RULES_RULES_H
#define CREDENCE_RULES_RULES_H

#include "call.h"

#define CREDENCE_OP(number, NAME, name) \
  __attribute__((weak)) int32_t cr_rule_##name(const cr_call *call, credence_error *err);
CREDENCE_OPS(CREDENCE_OP)
#undef CREDENCE_OP

#endif
