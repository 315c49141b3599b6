/* Filling the caller's credence_error. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core.h"

int32_t cr_fail(credence_error *err, int32_t code, const char *format, ...) {
  if (err == NULL) return code;
  err->code = code;
  err->native_code = 0;
  va_list args;
  va_start(args, format);
  if (vsnprintf(err->msg, sizeof err->msg, format, args) < 0) err->msg[0] = '\0';
  va_end(args);
  return code;
}

const char *cr_shape(const cr_tensor *t, char buffer[96]) {
  size_t at = 0;
  buffer[0] = '\0';
  if (t->ndim == 0) memcpy(buffer, "scalar", sizeof "scalar");
  for (int32_t k = 0; k < t->ndim && at < 96; k++) {
    int n = snprintf(buffer + at, 96 - at, k == 0 ? "%lld" : "x%lld", (long long)t->dim[k]);
    if (n < 0) break;
    at += (size_t)n;
  }
  return buffer;
}

int32_t cr_name_op(uint32_t index, uint32_t opcode, int32_t status, credence_error *err) {
  if (err == NULL) return status;
  const char *name = cr_op_name(opcode);
  const size_t n = strlen(name);
  const int32_t native_code = err->code == status ? err->native_code : 0;
  char said[sizeof err->msg] = "failed";
  if (err->code == status && err->msg[0] != '\0') memcpy(said, err->msg, sizeof said);
  if (strncmp(said, name, n) == 0 && said[n] == ':') /* families name their ops themselves */
    cr_fail(err, status, "op %u, %s", index, said);
  else
    cr_fail(err, status, "op %u, %s: %s", index, name, said);
  err->native_code = native_code;
  return status;
}
