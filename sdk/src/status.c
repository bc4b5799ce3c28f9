#include "deai/status.h"

typedef struct status_row {
  int32_t number;
  int32_t http;
  int32_t exit_code;
  const char *name;
  const char *text;
} status_row;

#define STATUS_ROW(name, number, http, code, text) {number, http, code, #name, text},
static const status_row rows[] = {DEAI_STATUS_LIST(STATUS_ROW)};

static const status_row unknown = {0, 500, 1, "UNKNOWN", "unknown status"};

static const status_row *status_find(int32_t status) {
  for (uint32_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (rows[i].number == status) return &rows[i];
  }
  return &unknown;
}

const char *deai_status_name(int32_t status) {
  return status_find(status)->name;
}

const char *deai_status_text(int32_t status) {
  return status_find(status)->text;
}

int32_t deai_status_http(int32_t status) {
  return status_find(status)->http;
}

int32_t deai_status_exit(int32_t status) {
  return status_find(status)->exit_code;
}
