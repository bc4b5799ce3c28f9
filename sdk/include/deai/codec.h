#ifndef DEAI_CODEC_H
#define DEAI_CODEC_H

#include "deai/cbor.h"
#include "deai/status.h"
#include "deai/types.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A codec table describes one C struct and its one encoding, so that every map of docs/formats.md
   is a struct, a table, and no code.

     bytes --deai_decode(table)--> struct        struct --deai_encode(table)--> bytes

   Rules    A MAP table lists its fields in canonical key order (length, then bytes). A TUPLE is an
            array with all fields in order. A BARE table has one field and is encoded as that field
            alone (for a list inside a list). Presence of optional fields is a bit each, in a
            uint64_t called has at the start of the struct: bit i = field i.
            Unknown keys are refused where the table says so (signed things and the ledger) and
            ignored in the heads of calls and parts.
   Memory   Texts, bytes, CIDs and ANY point into the decoded bytes. Lists lie in the arena of the
            caller. Nothing is freed one by one.
   Limits   Every text, byte string and list has its maximum in the table, checked before memory is
            taken; a list is also capped by the bytes that are left.
   Threads  [any] */

typedef enum deai_field_kind {
  DEAI_FIELD_UINT = 1, /* uint64_t in min..max */
  DEAI_FIELD_INT,      /* int64_t */
  DEAI_FIELD_BOOL,     /* uint8_t, 0 or 1 */
  DEAI_FIELD_TEXT,     /* deai_str, length in min..max bytes */
  DEAI_FIELD_BYTES,    /* deai_bytes, length in min..max */
  DEAI_FIELD_FIXED,    /* uint8_t[max], a byte string of exactly max bytes */
  DEAI_FIELD_CID,      /* deai_bytes: binary CID without the 0x00 prefix, at most DEAI_CID_MAX */
  DEAI_FIELD_ANY,      /* deai_bytes: the encoded bytes of one item of any kind */
  DEAI_FIELD_STRUCT,   /* the struct of table `sub`, inline */
  DEAI_FIELD_ENUM,     /* uint32_t: index into the NULL-ended list `names`, a text on the wire */
  DEAI_FIELD_LIST,     /* deai_list of kind `item`, count in min..max, items limited by item_max */
  DEAI_FIELD_TEXT_MAP, /* deai_list of deai_text_pair, in key order */
  DEAI_FIELD_UINT_MAP  /* deai_list of deai_uint_pair, in key order */
} deai_field_kind;

typedef struct deai_list {
  void *items; /* array of the C type of the item kind */
  uint64_t count;
} deai_list;

typedef struct deai_text_pair {
  deai_str key;
  deai_str value;
} deai_text_pair;

typedef struct deai_uint_pair {
  deai_str key;
  uint64_t value;
} deai_uint_pair;

/* signed<T>: the encoded T as it was signed, the key, the signature (docs/formats.md 6). */
typedef struct deai_signed {
  deai_bytes body;
  uint8_t key[DEAI_KEY_BYTES];
  uint8_t sig[DEAI_SIG_BYTES];
} deai_signed;

typedef enum deai_form { DEAI_FORM_MAP = 0, DEAI_FORM_TUPLE = 1, DEAI_FORM_BARE = 2 } deai_form;

struct deai_table;

typedef struct deai_field {
  const char *key; /* NULL in TUPLE and BARE tables */
  uint8_t kind;    /* a deai_field_kind */
  uint8_t item;    /* kind of the items of a LIST */
  uint8_t optional;
  uint8_t reserved;
  uint32_t offset; /* of the member in the struct */
  uint64_t min;
  uint64_t max;
  uint64_t item_max; /* longest text or byte string, or largest uint, of a LIST item */
  const struct deai_table *sub;
  const char *const *names;
} deai_field;

typedef struct deai_table {
  const char *name; /* as in docs/formats.md; used in error texts */
  uint32_t size;    /* of the struct */
  uint8_t form;     /* a deai_form */
  uint8_t ignore_unknown;
  uint16_t field_count; /* at most 64 */
  const deai_field *fields;
} deai_table;

/* Memory for the lists of a decoded struct: taken from the front, given back as a whole. */
typedef struct deai_arena {
  uint8_t *base; /* aligned to 16 */
  uint64_t cap;
  uint64_t used;
} deai_arena;

extern const deai_table deai_signed_table;

/* deai_arena_take returns len bytes aligned to 16, or NULL when the arena is used up. */
void *deai_arena_take(deai_arena *arena, uint64_t len);

/* deai_decode reads exactly one value from bytes into out (table->size bytes, zeroed first).
   Returns DEAI_EINVAL with a text "TABLE.key: expected ..., found ..." in err, or DEAI_ENOMEM when
   the arena is too small. arena may be NULL for tables without lists. */
DEAI_MUST_CHECK int32_t deai_decode(const deai_table *table, deai_bytes bytes, void *out,
                                    deai_arena *arena, char *err, uint32_t err_cap);

/* deai_encode appends the struct to writer. Returns DEAI_EINVAL when a value breaks its limits (err
   says which), DEAI_ETOOLARGE when the writer is full; writer->len is then the size needed. */
DEAI_MUST_CHECK int32_t deai_encode(const deai_table *table, const void *value,
                                    deai_cbor_writer *writer, char *err, uint32_t err_cap);

/* deai_table_check returns DEAI_OK when the table itself is sound: canonical key order, sub tables
   and names present, offsets inside the struct, limits set. A test runs it on every table. */
DEAI_MUST_CHECK int32_t deai_table_check(const deai_table *table, char *err, uint32_t err_cap);

/* Rows of a table: DEAI_F_TEXT(struct type, member, "key", min, max) and so on; the suffix _OPT
   marks an optional key. */
#define DEAI_F_(type, member, keytext, kindid, itemid, opt, lo, hi, ihi, subtable, nametable)      \
  {                                                                                                \
    keytext, kindid, itemid, opt, 0, (uint32_t)offsetof(type, member), lo, hi, ihi, subtable,      \
        nametable                                                                                  \
  }
#define DEAI_F_UINT(t, m, k, lo, hi) DEAI_F_(t, m, k, DEAI_FIELD_UINT, 0, 0, lo, hi, 0, NULL, NULL)
#define DEAI_F_UINT_OPT(t, m, k, lo, hi)                                                           \
  DEAI_F_(t, m, k, DEAI_FIELD_UINT, 0, 1, lo, hi, 0, NULL, NULL)
#define DEAI_F_INT(t, m, k)          DEAI_F_(t, m, k, DEAI_FIELD_INT, 0, 0, 0, 0, 0, NULL, NULL)
#define DEAI_F_BOOL(t, m, k)         DEAI_F_(t, m, k, DEAI_FIELD_BOOL, 0, 0, 0, 1, 0, NULL, NULL)
#define DEAI_F_BOOL_OPT(t, m, k)     DEAI_F_(t, m, k, DEAI_FIELD_BOOL, 0, 1, 0, 1, 0, NULL, NULL)
#define DEAI_F_TEXT(t, m, k, lo, hi) DEAI_F_(t, m, k, DEAI_FIELD_TEXT, 0, 0, lo, hi, 0, NULL, NULL)
#define DEAI_F_TEXT_OPT(t, m, k, lo, hi)                                                           \
  DEAI_F_(t, m, k, DEAI_FIELD_TEXT, 0, 1, lo, hi, 0, NULL, NULL)
#define DEAI_F_BYTES(t, m, k, lo, hi)                                                              \
  DEAI_F_(t, m, k, DEAI_FIELD_BYTES, 0, 0, lo, hi, 0, NULL, NULL)
#define DEAI_F_BYTES_OPT(t, m, k, lo, hi)                                                          \
  DEAI_F_(t, m, k, DEAI_FIELD_BYTES, 0, 1, lo, hi, 0, NULL, NULL)
#define DEAI_F_FIXED(t, m, k, n)     DEAI_F_(t, m, k, DEAI_FIELD_FIXED, 0, 0, n, n, 0, NULL, NULL)
#define DEAI_F_FIXED_OPT(t, m, k, n) DEAI_F_(t, m, k, DEAI_FIELD_FIXED, 0, 1, n, n, 0, NULL, NULL)
#define DEAI_F_CID(t, m, k)                                                                        \
  DEAI_F_(t, m, k, DEAI_FIELD_CID, 0, 0, 1, DEAI_CID_MAX, 0, NULL, NULL)
#define DEAI_F_CID_OPT(t, m, k)                                                                    \
  DEAI_F_(t, m, k, DEAI_FIELD_CID, 0, 1, 1, DEAI_CID_MAX, 0, NULL, NULL)
#define DEAI_F_ANY(t, m, k, hi)     DEAI_F_(t, m, k, DEAI_FIELD_ANY, 0, 0, 1, hi, 0, NULL, NULL)
#define DEAI_F_ANY_OPT(t, m, k, hi) DEAI_F_(t, m, k, DEAI_FIELD_ANY, 0, 1, 1, hi, 0, NULL, NULL)
#define DEAI_F_STRUCT(t, m, k, sub) DEAI_F_(t, m, k, DEAI_FIELD_STRUCT, 0, 0, 0, 0, 0, sub, NULL)
#define DEAI_F_STRUCT_OPT(t, m, k, sub)                                                            \
  DEAI_F_(t, m, k, DEAI_FIELD_STRUCT, 0, 1, 0, 0, 0, sub, NULL)
#define DEAI_F_ENUM(t, m, k, names) DEAI_F_(t, m, k, DEAI_FIELD_ENUM, 0, 0, 0, 0, 0, NULL, names)
#define DEAI_F_ENUM_OPT(t, m, k, names)                                                            \
  DEAI_F_(t, m, k, DEAI_FIELD_ENUM, 0, 1, 0, 0, 0, NULL, names)
#define DEAI_F_LIST(t, m, k, item, lo, hi, ihi)                                                    \
  DEAI_F_(t, m, k, DEAI_FIELD_LIST, item, 0, lo, hi, ihi, NULL, NULL)
#define DEAI_F_LIST_OPT(t, m, k, item, lo, hi, ihi)                                                \
  DEAI_F_(t, m, k, DEAI_FIELD_LIST, item, 1, lo, hi, ihi, NULL, NULL)
#define DEAI_F_LIST_OF(t, m, k, lo, hi, sub)                                                       \
  DEAI_F_(t, m, k, DEAI_FIELD_LIST, DEAI_FIELD_STRUCT, 0, lo, hi, 0, sub, NULL)
#define DEAI_F_LIST_OF_OPT(t, m, k, lo, hi, sub)                                                   \
  DEAI_F_(t, m, k, DEAI_FIELD_LIST, DEAI_FIELD_STRUCT, 1, lo, hi, 0, sub, NULL)
#define DEAI_F_TEXT_MAP(t, m, k, hi, ihi)                                                          \
  DEAI_F_(t, m, k, DEAI_FIELD_TEXT_MAP, 0, 0, 0, hi, ihi, NULL, NULL)
#define DEAI_F_UINT_MAP(t, m, k, hi)                                                               \
  DEAI_F_(t, m, k, DEAI_FIELD_UINT_MAP, 0, 0, 0, hi, UINT64_MAX, NULL, NULL)

/* A MAP table; unknown keys refused (DEAI_TABLE_SIGNED) or ignored (DEAI_TABLE_HEAD). */
#define DEAI_TABLE_SIGNED(text, type, rows)                                                        \
  {                                                                                                \
    text, (uint32_t)sizeof(type), DEAI_FORM_MAP, 0, (uint16_t)(sizeof(rows) / sizeof((rows)[0])),  \
        rows                                                                                       \
  }
#define DEAI_TABLE_HEAD(text, type, rows)                                                          \
  {                                                                                                \
    text, (uint32_t)sizeof(type), DEAI_FORM_MAP, 1, (uint16_t)(sizeof(rows) / sizeof((rows)[0])),  \
        rows                                                                                       \
  }
#define DEAI_TABLE_TUPLE(text, type, rows)                                                         \
  {                                                                                                \
    text, (uint32_t)sizeof(type), DEAI_FORM_TUPLE, 0,                                              \
        (uint16_t)(sizeof(rows) / sizeof((rows)[0])), rows                                         \
  }
#define DEAI_TABLE_BARE(text, type, rows)                                                          \
  { text, (uint32_t)sizeof(type), DEAI_FORM_BARE, 0, 1, rows }

#ifdef __cplusplus
}
#endif

#endif
