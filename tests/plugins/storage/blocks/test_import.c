#include "plugins/storage/blocks/import.h"

#include "tests/plugins/storage/blocks/tools.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

START_TEST(refuses_other_profiles) {
  blocks_store *store = store_at("profile");
  blocks_import *import = NULL;
  blocks_error err = {0};
  blocks_import_options options = {.profile = deai_str_of("unixfs-v0-2015")};
  ck_assert_int_eq(blocks_import_begin(store, &options, &import, &err), DEAI_EUNSUPPORTED);
  ck_assert_ptr_nonnull(strstr(err.text, "unixfs-v1-2025"));
  options.profile = deai_str_of("");
  ck_assert_int_eq(blocks_import_begin(NULL, &options, &import, &err), DEAI_EINVAL);
  store_end(store);
}
END_TEST

START_TEST(a_full_store_keeps_nothing_of_it) {
  blocks_store_options limits = {.bytes_max = 6u << 20};
  blocks_store *store = store_with("full", &limits);
  blocks_import *import = NULL;
  blocks_import_options options = {0};
  blocks_usage usage;
  static uint8_t bytes[8u << 20];
  ck_assert_int_eq(blocks_import_begin(store, &options, &import, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_import_write(import, deai_bytes_of(bytes, sizeof bytes), NULL),
                   DEAI_EFULL);
  blocks_import_end(import);
  ck_assert_int_eq(blocks_store_usage(store, &usage), DEAI_OK);
  ck_assert_uint_lt(usage.bytes, 1000);
  (void)import_seed(store, "fits", 5u << 20, false); /* grows in small steps near the cap */
  options.size_hint = 8u << 20;
  ck_assert_int_eq(blocks_import_begin(store, &options, &import, NULL), DEAI_OK);
  ck_assert_int_eq(blocks_import_write(import, deai_bytes_of(bytes, sizeof bytes), NULL),
                   DEAI_EFULL);
  blocks_import_end(import);
  store_end(store);
}
END_TEST

START_TEST(any_cut_of_the_stream_gives_the_same_cid) {
  static const size_t cuts[] = {1, 4096, 65537, 1u << 20, (1u << 20) + 1, 3u << 20, 7u << 20};
  size_t size = (6u << 20) + 12345;
  uint8_t *bytes = malloc(size);
  keystream("cuts", 0, bytes, size);
  blocks_import_result want = import_seed(NULL, "cuts", size, false);
  ck_assert_uint_eq(want.size, size);
  ck_assert_uint_eq(want.blocks, 8);
  for (size_t i = 1; i < sizeof cuts / sizeof cuts[0]; i++) {
    blocks_import_options options = {.hash_only = true};
    blocks_import_result found;
    blocks_import *import;
    ck_assert_int_eq(blocks_import_begin(NULL, &options, &import, NULL), DEAI_OK);
    for (size_t at = 0; at < size; at += cuts[i]) {
      size_t len = size - at < cuts[i] ? size - at : cuts[i];
      ck_assert_int_eq(blocks_import_write(import, deai_bytes_of(bytes + at, len), NULL), DEAI_OK);
    }
    ck_assert_int_eq(blocks_import_finish(import, &found, NULL), DEAI_OK);
    blocks_import_end(import);
    ck_assert_int_eq(blocks_cid_equal(&want.cid, &found.cid), 1);
  }
  free(bytes);
}
END_TEST

START_TEST(what_goes_in_comes_out) {
  static const uint64_t sizes[] = {
      0, 1, 1u << 20, (1u << 20) + 1, (4u << 20) - 1, 4u << 20, (9u << 20) + 3};
  blocks_store *store = store_at("round");
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    blocks_import_result file = import_seed(store, "round", sizes[i], true);
    blocks_import_result hashed = import_seed(NULL, "round", sizes[i], false);
    blocks_reader *reader;
    uint8_t *want = malloc(sizes[i] + 1);
    uint8_t *found = malloc(sizes[i] + 1);
    uint64_t at = 0;
    int64_t got = 0;
    keystream("round", 0, want, sizes[i]);
    ck_assert_int_eq(blocks_cid_equal(&file.cid, &hashed.cid), 1);
    ck_assert_int_eq(
        blocks_reader_open(blocks_store_source(store), &file.cid, (blocks_caps){0}, &reader, NULL),
        DEAI_OK);
    do {
      deai_buf dst = {.ptr = found + at, .cap = sizes[i] - at};
      got = blocks_reader_read(reader, at, dst, NULL);
      ck_assert_int_ge(got, 0);
      at += (uint64_t)got;
    } while (got > 0);
    ck_assert_uint_eq(at, sizes[i]);
    ck_assert_int_eq(memcmp(want, found, sizes[i]), 0);
    blocks_reader_close(reader);
    free(want);
    free(found);
  }
  store_end(store);
}
END_TEST

START_TEST(makes_directories_of_what_is_here) {
  blocks_store *store = store_at("folder");
  blocks_import_options options = {.pin = true};
  blocks_import_result folder, link;
  blocks_import_entry entries[3] = {
      {.name = deai_str_of("large")}, {.name = deai_str_of("link")}, {.name = deai_str_of("text")}};
  blocks_import_result large = import_seed(store, "folder", 5u << 20, false);
  ck_assert_int_eq(blocks_import_symlink(store, deai_str_of("large"), &options, &link, NULL), 0);
  entries[0].cid = large.cid;
  entries[1].cid = link.cid;
  entries[2].cid = cid_of_text("not here");
  ck_assert_int_eq(blocks_import_directory(store, entries, 3, &options, &folder, NULL),
                   DEAI_ENOTFOUND);
  entries[2].cid = put_text(store, "here");
  ck_assert_int_eq(blocks_import_directory(store, entries, 3, &options, &folder, NULL), DEAI_OK);
  ck_assert_uint_gt(folder.dag_bytes, large.dag_bytes + link.dag_bytes + 4);
  blocks_cid found;
  uint64_t pins;
  ck_assert_int_eq(blocks_resolve(blocks_store_source(store), &folder.cid, deai_str_of("large"),
                                  &found, NULL, NULL, NULL),
                   DEAI_OK);
  ck_assert_int_eq(blocks_cid_equal(&found, &large.cid), 1);
  ck_assert_int_eq(blocks_store_pins(store, &folder.cid, &pins), DEAI_OK);
  ck_assert_uint_eq(pins, 1);
  store_end(store);
}
END_TEST

START_TEST(a_directory_above_the_threshold_is_refused) {
  uint32_t count = 5000;
  blocks_store *store = store_at("threshold");
  blocks_import_entry *entries = calloc(count, sizeof *entries);
  char(*names)[16] = calloc(count, sizeof *names);
  blocks_import_options options = {0};
  blocks_import_result result;
  blocks_error err = {0};
  blocks_cid cid = put_text(store, "x");
  for (uint32_t i = 0; i < count; i++) {
    (void)snprintf(names[i], sizeof names[i], "entry %08u", i);
    entries[i] = (blocks_import_entry){.name = deai_str_of(names[i]), .cid = cid};
  }
  ck_assert_int_eq(blocks_import_directory(store, entries, count, &options, &result, &err),
                   DEAI_EUNSUPPORTED);
  ck_assert_ptr_nonnull(strstr(err.text, "262144"));
  free(entries);
  free(names);
  store_end(store);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("blocks/import");
  TCase *tests = tcase_create("all");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, refuses_other_profiles);
  tcase_add_test(tests, a_full_store_keeps_nothing_of_it);
  tcase_add_test(tests, any_cut_of_the_stream_gives_the_same_cid);
  tcase_add_test(tests, what_goes_in_comes_out);
  tcase_add_test(tests, makes_directories_of_what_is_here);
  tcase_add_test(tests, a_directory_above_the_threshold_is_refused);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
