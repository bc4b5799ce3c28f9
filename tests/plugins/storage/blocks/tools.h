#ifndef DEAI_TESTS_PLUGINS_STORAGE_BLOCKS_TOOLS_H
#define DEAI_TESTS_PLUGINS_STORAGE_BLOCKS_TOOLS_H

#include "plugins/storage/blocks/import.h"
#include "tests/plugins/storage/blocks/vectors.h"

/* Stores for tests: every one in a folder of its own under testing_folder(). Failures abort. */

/* store_at opens the store NAME; store_path returns its folder (until the next call). */
blocks_store *store_at(const char *name);
const char *store_path(const char *name);
blocks_store *store_with(const char *name, const blocks_store_options *options);

/* store_end closes a store and expects that to succeed. */
void store_end(blocks_store *store);

/* put_text puts text as a raw block and returns its CID; it is not synced. */
blocks_cid put_text(blocks_store *store, const char *text);

/* cid_of_text is the CID put_text would return. */
blocks_cid cid_of_text(const char *text);

/* holds returns 1 when the block is there and right, else 0. */
int holds(blocks_store *store, const blocks_cid *cid);

/* import_seed imports size bytes of the keystream of seed. */
blocks_import_result import_seed(blocks_store *store, const char *seed, uint64_t size, bool pin);

/* flip inverts one byte of the file under the store NAME whose name ends in suffix, at offset
   (negative: from its end). */
void flip(const char *name, const char *folder, const char *suffix, long offset);

/* file_with finds the first file of a folder of the store NAME that ends in suffix. */
const char *file_with(const char *name, const char *folder, const char *suffix);

/* remove_index deletes the index of the closed store NAME. */
void remove_index(const char *name);

#endif
