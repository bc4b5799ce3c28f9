#ifndef DEAI_HOST_CONFIG_SCHEMA_H
#define DEAI_HOST_CONFIG_SCHEMA_H

#include "deai/status.h"
#include "deai/types.h"

#include <jansson.h>
#include <libfyaml.h>

/* Settings: YAML checked against a JSON Schema (a subset) and turned into canonical CBOR with the
   defaults applied. The node's own config and the settings of every plug-in go the same way.

   type      object   properties, required, additionalProperties (a schema; else unknown keys are
                      refused)
             array    items, maxItems
             string   enum, minLength, maxLength
             integer  minimum, maximum (both 0 .. 2^63-1), format
             boolean
   default   applied when the key is missing; an object without one gets its properties' defaults
   format    of an integer, so that people write units and plug-ins read one:
             "bytes"    12GiB, 400MiB, 64KiB, 100        bytes
             "duration" 10m, 90s, 250ms, 1h              milliseconds
             "share"    2%, 0.5%, 100%                    10^-6
             "coins"    1.5                              10^-9 coin
   Errors    FILE:LINE:COLUMN: KEY: expected ..., found ...; what to do
   Threads   [any]
   Limits    nesting DEAI_SCHEMA_DEPTH_MAX, 64 properties an object, DEAI_SCHEMA_LIST_MAX items */

#define DEAI_SCHEMA_DEPTH_MAX 8u
#define DEAI_SCHEMA_KEYS_MAX  64u
#define DEAI_SCHEMA_LIST_MAX  1024u
#define DEAI_SETTINGS_MAX     65536u /* bytes of CBOR */

/* deai_schema_check refuses a schema that uses what the subset does not know. */
DEAI_MUST_CHECK int32_t deai_schema_check(json_t *schema, char *err, uint32_t err_cap);

/* deai_schema_apply checks node (NULL = nothing was written) against schema and writes the
   canonical CBOR to out; *len_out is its length. file and path are for the error text. */
DEAI_MUST_CHECK int32_t deai_schema_apply(json_t *schema, struct fy_node *node, const char *file,
                                          const char *path, deai_buf out, uint64_t *len_out,
                                          char *err, uint32_t err_cap);

/* deai_schema_unit reads an integer with a unit of format ("" = plain digits). DEAI_EINVAL. */
DEAI_MUST_CHECK int32_t deai_schema_unit(const char *text, const char *format, uint64_t *out);

#endif
