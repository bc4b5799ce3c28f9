#ifndef DEAI_PLUGINS_MODELS_ANSWER_DECIMAL_H
#define DEAI_PLUGINS_MODELS_ANSWER_DECIMAL_H

#include "deai/status.h"
#include "deai/types.h"

#include <stdint.h>

/* Decimal numbers of a request as integers of 10^-6, taken from the digits the client wrote: no
   double lies in between, so every node reads the same temperature from the same text.

     {"temperature": 0.7}  --answer_json_member-->  "0.7"  --answer_decimal_micro-->  700000

   Rounding  To the nearest 10^-6, ties to even (IEEE 754 roundTiesToEven, in decimal).
   Threads   [any]
   Memory    Texts returned point into the text given.
   Limits    Values saturate at ANSWER_DECIMAL_MAX. */

#define ANSWER_DECIMAL_MAX INT64_C(1000000000000000000)

/* answer_decimal_micro reads a JSON number (RFC 8259 6). DEAI_EINVAL for any other text. */
DEAI_MUST_CHECK int32_t answer_decimal_micro(deai_str text, int64_t *micro_out);

/* answer_json_member finds the raw text of the value of key in json, a text that a JSON parser has
   accepted as an object without duplicate keys. DEAI_ENOTFOUND when the key is not there. */
DEAI_MUST_CHECK int32_t answer_json_member(deai_str json, const char *key, deai_str *raw_out);

#endif
