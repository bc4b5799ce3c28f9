#ifndef DEAI_PLUGINS_COMPUTE_LM_GGUF_H
#define DEAI_PLUGINS_COMPUTE_LM_GGUF_H

#include "error.h"

#include "deai/types.h"

#include <stddef.h>
#include <stdint.h>

/* An lm_gguf is the header of a GGUF v3 file (format: ggml docs/gguf.md): its keys, and where its
   tensors lie. The file is untrusted. Every count and length is compared with a cap and with what
   the file can still hold before anything is allocated; keys and tensor names are unique; each
   tensor is aligned and ends within the file.

   The header is read with pread into one buffer that all answers point into. Nothing is mapped, so
   a file that shrinks later gives DEAI_EIO from lm_gguf_read and no signal.

   Threads  [any]; a header does not change after open.
   Memory   Freed by lm_gguf_close. It keeps its own descriptor.
   Limits   The LM_GGUF_*_MAX below.
   Caveats  Little-endian files only. Arrays of arrays are refused: no known model has one. */

#define LM_GGUF_HEADER_MAX  (256u << 20) /* bytes of keys and tensor table */
#define LM_GGUF_KEYS_MAX    4096u
#define LM_GGUF_TENSORS_MAX 65536u
#define LM_GGUF_KEY_MAX     65535u
#define LM_GGUF_NAME_MAX    64u
#define LM_GGUF_DIMS_MAX    4u

/* Types of values, numbered as in the file. */
enum {
  LM_GGUF_U8,
  LM_GGUF_I8,
  LM_GGUF_U16,
  LM_GGUF_I16,
  LM_GGUF_U32,
  LM_GGUF_I32,
  LM_GGUF_F32,
  LM_GGUF_BOOL,
  LM_GGUF_STRING,
  LM_GGUF_ARRAY,
  LM_GGUF_U64,
  LM_GGUF_I64,
  LM_GGUF_F64
};

/* Types of tensors this library reads, numbered as in the file. */
enum { LM_TYPE_F32 = 0, LM_TYPE_F16 = 1, LM_TYPE_Q4_0 = 2, LM_TYPE_Q4_1 = 3, LM_TYPE_Q8_0 = 8 };

typedef struct lm_gguf lm_gguf;

typedef struct lm_gguf_array {
  uint32_t type; /* of the elements */
  uint64_t count;
  const uint8_t *bytes; /* count numbers, packed, unaligned; strings: length u64 and bytes each */
} lm_gguf_array;

typedef struct lm_gguf_tensor {
  deai_str name;
  uint32_t type;
  uint32_t dim_count;              /* 1..4 */
  uint64_t dims[LM_GGUF_DIMS_MAX]; /* dims[0] = length of a row; unused ones are 1 */
  uint64_t offset;                 /* of the first byte in the file */
  uint64_t bytes;
} lm_gguf_tensor;

/* lm_gguf_open reads the header behind descriptor. DEAI_EINVAL for a broken file, DEAI_EUNSUPPORTED
   for another version or a tensor type not read here (by name), DEAI_EIO, DEAI_ENOMEM. [worker] */
DEAI_MUST_CHECK int32_t lm_gguf_open(int descriptor, lm_gguf **gguf_out, lm_error *error);

/* lm_gguf_close frees the header; NULL is fine. */
void lm_gguf_close(lm_gguf *gguf);

/* lm_gguf_uint sets *out to a key of any integer or bool type; DEAI_ENOTFOUND, or DEAI_EINVAL when
   it is negative or of another type. */
DEAI_MUST_CHECK int32_t lm_gguf_uint(const lm_gguf *gguf, const char *key, uint64_t *out);

/* lm_gguf_float sets *out to an F32 or F64 key; DEAI_ENOTFOUND, DEAI_EINVAL. */
DEAI_MUST_CHECK int32_t lm_gguf_float(const lm_gguf *gguf, const char *key, double *out);

/* lm_gguf_text sets *out to a string key; DEAI_ENOTFOUND, DEAI_EINVAL. */
DEAI_MUST_CHECK int32_t lm_gguf_text(const lm_gguf *gguf, const char *key, deai_str *out);

/* lm_gguf_list sets *out to an array key; DEAI_ENOTFOUND, DEAI_EINVAL. */
DEAI_MUST_CHECK int32_t lm_gguf_list(const lm_gguf *gguf, const char *key, lm_gguf_array *out);

/* lm_gguf_texts sets *out to a fresh table (free it) of the strings of an array key and *count_out
   to their number, at most max. DEAI_ENOTFOUND, DEAI_EINVAL (no array of strings), DEAI_ETOOLARGE,
   DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t lm_gguf_texts(const lm_gguf *gguf, const char *key, uint64_t max,
                                      deai_str **out, uint64_t *count_out);

/* lm_gguf_tensor_count returns the number of tensors. */
uint32_t lm_gguf_tensor_count(const lm_gguf *gguf);

/* lm_gguf_tensor_at returns tensor index (< count), in order of their names. */
const lm_gguf_tensor *lm_gguf_tensor_at(const lm_gguf *gguf, uint32_t index);

/* lm_gguf_tensor_find returns the index of the tensor of this name, or -1. */
int64_t lm_gguf_tensor_find(const lm_gguf *gguf, const char *name);

/* lm_gguf_read reads len bytes at offset of the file; DEAI_EIO when it does not give them all. */
DEAI_MUST_CHECK int32_t lm_gguf_read(const lm_gguf *gguf, uint64_t offset, void *out, size_t len);

#endif
