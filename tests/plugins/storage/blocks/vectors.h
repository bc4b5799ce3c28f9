#ifndef DEAI_TESTS_PLUGINS_STORAGE_BLOCKS_VECTORS_H
#define DEAI_TESTS_PLUGINS_STORAGE_BLOCKS_VECTORS_H

#include "plugins/storage/blocks/reader.h"
#include "tests/testing.h"

/* What the tests of storage/blocks share: tallies of vector rows, keystreams, a store in memory.

   Threads  one. */

typedef struct tally {
  size_t passed;
  size_t failed;
  size_t not_in_build;
} tally;

/* tally_row counts one row by status: 0 passed, DEAI_EUNSUPPORTED not in this build, else failed
   and printed with its id. */
void tally_row(tally *t, const json_t *row, int32_t status);

/* keystream fills out with the bytes [offset, offset + len) of the stream of seed: ChaCha20 with
   key SHA-256(seed), zero nonce and counter 0 (README of the vectors). offset is a multiple of
   64. */
void keystream(const char *seed, uint64_t offset, uint8_t *out, size_t len);

/* csv_rows calls row for each data line of area/name with its cells, split at the first commas and
   stripped of blanks and quotes; count is at most 8. Returns how many lines there were. */
typedef void csv_row(char **cells, size_t count, void *user);
size_t csv_rows(const char *area, const char *name, csv_row *row, void *user);

/* A memory_store maps CIDs to blocks in a plain list. */
typedef struct memory_store memory_store;
memory_store *memory_store_new(void);
void memory_store_free(memory_store *store);
/* memory_store_put adds a copy of data under cid. */
void memory_store_put(memory_store *store, const blocks_cid *cid, deai_bytes data);
/* memory_store_source is the reader's view of it. */
blocks_source memory_store_source(memory_store *store);

#endif
