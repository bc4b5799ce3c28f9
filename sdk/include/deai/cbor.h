#ifndef DEAI_CBOR_H
#define DEAI_CBOR_H

#include "deai/status.h"
#include "deai/types.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Strict DAG-CBOR: the one encoding of everything that nodes, children and the ledger exchange.

   Strict means: definite lengths, shortest integers, map keys are text, unique and sorted (by
   length, then bytes), tag 42 only (a CID with its 0x00 prefix), valid UTF-8, no undefined, no
   floats, depth <= DEAI_CBOR_DEPTH_MAX. Every other form is refused, so that equal meaning is equal
   bytes and the hash of a structure is its identity (docs/formats.md 1; IPLD DAG-CBOR spec).

   A writer fills memory of the caller and remembers the first failure; a reader walks bytes of the
   caller and copies nothing. Both are plain values without hidden state; most code uses the tables
   of codec.h and never calls them.

   Threads  [any]; one value is used by one thread at a time.
   Memory   The bytes given to a reader must outlive all that was read from it.
   Limits   Lengths are checked against what is left before they are used. */

#define DEAI_CBOR_DEPTH_MAX 16

/* Flags of deai_cbor_check. */
#define DEAI_CBOR_FLOAT64 1u /* content blocks of others: 64-bit finite floats are accepted */
#define DEAI_CBOR_DEEP    2u /* content blocks of others: depth up to 1,024 */

typedef enum deai_cbor_kind {
  DEAI_CBOR_UINT = 0,
  DEAI_CBOR_NEGINT = 1, /* value -1 - number */
  DEAI_CBOR_BYTES = 2,
  DEAI_CBOR_TEXT = 3,
  DEAI_CBOR_ARRAY = 4,
  DEAI_CBOR_MAP = 5,
  DEAI_CBOR_TAG = 6,   /* tag 42; the CID follows as its own item */
  DEAI_CBOR_SIMPLE = 7 /* number 20 false, 21 true, 22 null */
} deai_cbor_kind;

typedef struct deai_cbor_writer {
  uint8_t *ptr;
  uint64_t cap;
  uint64_t len;   /* bytes written, or needed when status is DEAI_ETOOLARGE */
  int32_t status; /* DEAI_OK, or DEAI_ETOOLARGE once cap was passed */
} deai_cbor_writer;

typedef struct deai_cbor_reader {
  const uint8_t *ptr;
  uint64_t len;
  uint64_t at;
  int32_t status;  /* DEAI_OK, or DEAI_EINVAL once a form was refused; then all reads fail */
  const char *why; /* static text of the first refusal, or NULL */
} deai_cbor_reader;

typedef struct deai_cbor_item {
  int32_t kind;    /* a deai_cbor_kind */
  uint64_t number; /* integer, simple value, or count of elements or pairs */
  deai_bytes span; /* contents of bytes and text */
} deai_cbor_item;

/* deai_cbor_writer_of makes a writer over buf; a NULL ptr with cap 0 only counts. */
deai_cbor_writer deai_cbor_writer_of(deai_buf buf);

/* deai_cbor_put_uint appends an integer. The put functions append one item, or the head of an array
   or map whose items follow. Keys of a map must be put in canonical order: deai_cbor_check finds it
   out if they are not. After the capacity was passed they only count. */
void deai_cbor_put_uint(deai_cbor_writer *writer, uint64_t value);
/* deai_cbor_put_int appends a signed integer. */
void deai_cbor_put_int(deai_cbor_writer *writer, int64_t value);
/* deai_cbor_put_bytes appends a byte string. */
void deai_cbor_put_bytes(deai_cbor_writer *writer, deai_bytes value);
/* deai_cbor_put_text appends a text; it must be UTF-8. */
void deai_cbor_put_text(deai_cbor_writer *writer, deai_str value);
/* deai_cbor_put_bool appends true when value is not 0. */
void deai_cbor_put_bool(deai_cbor_writer *writer, int32_t value);
/* deai_cbor_put_null appends null. */
void deai_cbor_put_null(deai_cbor_writer *writer);
/* deai_cbor_put_cid appends tag 42 and the binary CID, to which it adds the 0x00 prefix. */
void deai_cbor_put_cid(deai_cbor_writer *writer, deai_bytes cid);
/* deai_cbor_put_array appends the head of an array of count items. */
void deai_cbor_put_array(deai_cbor_writer *writer, uint64_t count);
/* deai_cbor_put_map appends the head of a map of count pairs. */
void deai_cbor_put_map(deai_cbor_writer *writer, uint64_t count);
/* deai_cbor_put_raw appends bytes that are already one or more encoded items. */
void deai_cbor_put_raw(deai_cbor_writer *writer, deai_bytes items);

/* deai_cbor_reader_of makes a reader at the start of bytes. */
deai_cbor_reader deai_cbor_reader_of(deai_bytes bytes);

/* deai_cbor_next reads the head of the next item into *out; for bytes and text also the contents.
   Returns DEAI_EINVAL for a form that strict DAG-CBOR refuses (floats included); the reader then
   stays failed. Nesting and key order are the caller's business: see deai_cbor_skip. */
DEAI_MUST_CHECK int32_t deai_cbor_next(deai_cbor_reader *reader, deai_cbor_item *out);

/* deai_cbor_skip reads one whole item, nested ones included, checks all rules, and sets *span_out
   (may be NULL) to its bytes. */
DEAI_MUST_CHECK int32_t deai_cbor_skip(deai_cbor_reader *reader, deai_bytes *span_out);

/* deai_cbor_peek returns the kind of the next item, or -1 at the end. */
int32_t deai_cbor_peek(const deai_cbor_reader *reader);

/* deai_cbor_check returns DEAI_OK when bytes are exactly one item in strict form (flags loosen it
   for content blocks), else DEAI_EINVAL; *why_out (may be NULL) is a static text. */
DEAI_MUST_CHECK int32_t deai_cbor_check(deai_bytes bytes, uint32_t flags, const char **why_out);

/* deai_utf8_check returns 1 when text is valid UTF-8 (RFC 3629: no surrogates, no overlong form).
   */
int32_t deai_utf8_check(deai_str text);

#ifdef __cplusplus
}
#endif

#endif
