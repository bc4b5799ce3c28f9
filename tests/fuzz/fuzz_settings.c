/* Fuzz target of settings: the input is a JSON Schema, a zero byte, and YAML. What the schema check
   lets through must never crash on any YAML, and what comes out is strict CBOR. */
#include "deai/cbor.h"
#include "host/config/schema.h"
#include "host/config/yaml.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define INPUT_MAX 65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 forgets 1 or 2 KiB of some texts in quotes; a config is read once a start. That
   our own code gives documents back is seen by the unit tests. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void) {
  return "leak:libfyaml";
}

static void apply(json_t *schema, const char *yaml, size_t len) {
  static uint8_t out[DEAI_SETTINGS_MAX];
  char err[512] = "";
  uint64_t out_len = 0;
  struct fy_document *document = NULL;
  deai_str text = {.ptr = yaml, .len = len};
  if (deai_yaml_open(text, "f", &document, err, sizeof err) != DEAI_OK && err[0] == 0) abort();
  struct fy_node *root = document != NULL ? fy_document_root(document) : NULL;
  int32_t status = deai_schema_apply(schema, root, "f", "", (deai_buf){out, sizeof out}, &out_len,
                                     err, sizeof err);
  if (status == DEAI_OK && deai_cbor_check(deai_bytes_of(out, out_len), 0, NULL) != DEAI_OK)
    abort();
  if (status != DEAI_OK && err[0] == 0) abort();
  fy_document_destroy(document);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char err[512] = "";
  char text[64];
  uint64_t value = 0;
  const uint8_t *zero = size > 0 && size <= INPUT_MAX ? memchr(data, 0, size) : NULL;
  if (zero == NULL) return 0;
  size_t schema_len = (size_t)(zero - data);
  size_t yaml_len = size - schema_len - 1;
  if (yaml_len > 0 && yaml_len < sizeof text) {
    memcpy(text, zero + 1, yaml_len);
    text[yaml_len] = 0;
    if (deai_schema_unit(text, "bytes", &value) == DEAI_OK && value > INT64_MAX) abort();
  }
  json_t *schema = json_loadb((const char *)data, schema_len, JSON_REJECT_DUPLICATES, NULL);
  if (schema != NULL && deai_schema_check(schema, err, sizeof err) == DEAI_OK)
    apply(schema, (const char *)zero + 1, yaml_len);
  else if (schema != NULL && err[0] == 0)
    abort();
  json_decref(schema);
  return 0;
}
