#include "error.h"

#include <stdarg.h>
#include <stdio.h>

#include "host/base/banned.h"

int32_t lm_fail(lm_error *error, int32_t status, const char *format, ...) {
  if (error == NULL) return status;
  va_list list;
  va_start(list, format);
  int wrote = vsnprintf(error->text, sizeof error->text, format, list);
  va_end(list);
  if (wrote < 0) error->text[0] = 0;
  return status;
}
