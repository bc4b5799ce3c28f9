/* folder STORE: makes, in the store of a node that does not run, a directory with a file and a
   link, and prints its CID. For tests of `deai store get`, since no command adds links. */
#include "plugins/storage/blocks/import.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

static void need(int32_t status, const blocks_error *err) {
  if (status == DEAI_OK) return;
  (void)fprintf(stderr, "folder: %s: %s\n", deai_status_name(status), err->text);
  exit(1);
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  blocks_error err = {0};
  blocks_store *store = NULL;
  blocks_import *file = NULL;
  blocks_import_result made;
  blocks_store_options options = {.folder = argv[1]};
  blocks_import_options plain = {.pin = false};
  blocks_import_options pinned = {.pin = true};
  blocks_import_entry rows[2] = {{.name = {"file", 4}}, {.name = {"link", 4}}};
  need(blocks_store_open(&options, &store, &err), &err);
  need(blocks_import_begin(store, &plain, &file, &err), &err);
  need(blocks_import_write(file, deai_bytes_of("hello", 5), &err), &err);
  need(blocks_import_finish(file, &made, &err), &err);
  blocks_import_end(file);
  rows[0].cid = made.cid;
  need(blocks_import_symlink(store, deai_str_of("../../outside"), &plain, &made, &err), &err);
  rows[1].cid = made.cid;
  need(blocks_import_directory(store, rows, 2, &pinned, &made, &err), &err);
  need(blocks_store_sync(store, &err), &err);
  for (uint32_t i = 0; i < made.cid.len; i++)
    (void)printf("%02x", made.cid.bytes[i]);
  (void)printf("\n");
  return blocks_store_close(store) == DEAI_OK ? 0 : 1;
}
