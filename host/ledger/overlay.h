#ifndef DEAI_HOST_LEDGER_OVERLAY_H
#define DEAI_HOST_LEDGER_OVERLAY_H

#include "deai/status.h"
#include "deai/types.h"

/* A deai_overlay holds the records that the block in the making changed: a hash table from
   (table, key) to an entry, and a journal that can undo.

   Threads  One at a time.
   Memory   Keys and values are copied into chunks that live until deai_overlay_clear.
   Limits   DEAI_OVERLAY_BYTES_MAX of keys and values, then DEAI_EFULL. */

#define DEAI_OVERLAY_BYTES_MAX (UINT64_C(1) << 30)

typedef enum deai_overlay_kind {
  DEAI_OVERLAY_NONE = 0, /* undone: what is below counts */
  DEAI_OVERLAY_SET = 1,
  DEAI_OVERLAY_GONE = 2
} deai_overlay_kind;

typedef struct deai_overlay_entry {
  deai_bytes key;
  deai_bytes value;
  uint32_t table;
  uint32_t bucket;
  uint32_t kind; /* a deai_overlay_kind */
} deai_overlay_entry;

typedef struct deai_overlay deai_overlay;

/* deai_overlay_new makes an empty overlay; NULL when memory is used up. */
deai_overlay *deai_overlay_new(void);

/* deai_overlay_free ends it; NULL is allowed. */
void deai_overlay_free(deai_overlay *overlay);

/* deai_overlay_find returns the entry of key, or NULL. */
const deai_overlay_entry *deai_overlay_find(const deai_overlay *overlay, uint32_t table,
                                            deai_bytes key);

/* deai_overlay_set writes an entry of kind SET or GONE. */
DEAI_MUST_CHECK int32_t deai_overlay_set(deai_overlay *overlay, uint32_t table, uint32_t bucket,
                                         deai_bytes key, uint32_t kind, deai_bytes value);

/* deai_overlay_mark returns the place in the journal; deai_overlay_rollback goes back to it. */
uint64_t deai_overlay_mark(const deai_overlay *overlay);
/* deai_overlay_rollback undoes everything after mark. */
void deai_overlay_rollback(deai_overlay *overlay, uint64_t mark);

/* deai_overlay_clear forgets everything. */
void deai_overlay_clear(deai_overlay *overlay);

/* deai_overlay_count returns how many entries there are, undone ones included. */
uint64_t deai_overlay_count(const deai_overlay *overlay);

/* deai_overlay_sorted makes a fresh array (free it) of the entries that are SET or GONE, of one
   table or of all (DEAI_OVERLAY_ALL), in the order (table, bucket, key). */
#define DEAI_OVERLAY_ALL UINT32_MAX
DEAI_MUST_CHECK int32_t deai_overlay_sorted(const deai_overlay *overlay, uint32_t table,
                                            const deai_overlay_entry ***list_out,
                                            uint64_t *count_out);

#endif
