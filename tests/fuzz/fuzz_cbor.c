/* Fuzz target of the strict DAG-CBOR reader and of the codec tables: what decodes must encode to
   the same bytes. */
#include "deai/codec.h"

#include <stdbool.h>
#include <stdlib.h>

#include "host/base/banned.h"

typedef struct leaf {
  uint64_t n;
  int64_t i;
} leaf;
static const deai_field leaf_fields[] = {DEAI_F_UINT(leaf, n, NULL, 0, UINT64_MAX),
                                         DEAI_F_INT(leaf, i, NULL)};
static const deai_table leaf_table = DEAI_TABLE_TUPLE("leaf", leaf, leaf_fields);

static const char *const words[] = {"a", "bb", NULL};

typedef struct tree {
  uint64_t has;
  uint32_t word;
  uint8_t flag;
  uint8_t key[2];
  deai_str text;
  deai_bytes bytes;
  deai_bytes cid;
  deai_bytes any;
  deai_list leaves;
  deai_list numbers;
  deai_list heads;
  deai_list params;
} tree;
static const deai_field tree_fields[] = {
    DEAI_F_ANY_OPT(tree, any, "a", UINT64_MAX),
    DEAI_F_BYTES_OPT(tree, bytes, "b", 0, 64),
    DEAI_F_CID_OPT(tree, cid, "c"),
    DEAI_F_ENUM_OPT(tree, word, "e", words),
    DEAI_F_BOOL_OPT(tree, flag, "f"),
    DEAI_F_(tree, heads, "h", DEAI_FIELD_TEXT_MAP, 0, 1, 0, 16, 32, NULL, NULL),
    DEAI_F_FIXED_OPT(tree, key, "k", 2),
    DEAI_F_LIST_OF_OPT(tree, leaves, "l", 0, 64, &leaf_table),
    DEAI_F_LIST_OPT(tree, numbers, "n", DEAI_FIELD_UINT, 0, 64, UINT64_MAX),
    DEAI_F_(tree, params, "p", DEAI_FIELD_UINT_MAP, 0, 1, 0, 16, UINT64_MAX, NULL, NULL),
    DEAI_F_TEXT_OPT(tree, text, "t", 0, 64),
};
static const deai_table tree_table = DEAI_TABLE_SIGNED("tree", tree, tree_fields);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const deai_table *table, deai_bytes input, void *value) {
  static _Alignas(16) uint8_t room[1 << 16];
  deai_arena arena = {room, sizeof room, 0};
  char err[128];
  if (deai_decode(table, input, value, &arena, err, sizeof err) != DEAI_OK) return;
  uint8_t *out = malloc(input.len);
  if (out == NULL) return;
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){out, input.len});
  if (deai_encode(table, value, &writer, err, sizeof err) != DEAI_OK) abort();
  if (!deai_bytes_eq(input, deai_bytes_of(out, writer.len))) abort();
  free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  deai_bytes input = deai_bytes_of(data, size);
  tree value;
  deai_signed pack;
  static bool checked;
  if (!checked && deai_table_check(&tree_table, NULL, 0) != DEAI_OK) abort();
  checked = true;
  int32_t strict = deai_cbor_check(input, 0, NULL);
  int32_t loose = deai_cbor_check(input, DEAI_CBOR_FLOAT64 | DEAI_CBOR_DEEP, NULL);
  if (strict == DEAI_OK && loose != DEAI_OK) abort();
  round_trip(&tree_table, input, &value);
  round_trip(&deai_signed_table, input, &pack);
  return 0;
}
