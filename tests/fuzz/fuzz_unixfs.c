/* Fuzz target of dag-pb, UnixFS and the walks over a DAG. The input is a list of blocks, each
   behind
   a u16 length (big-endian); the first one is the root. A link leads to the block that its digest's
   last byte chooses, so that the DAG may be cyclic and every cap is met. */
#include "plugins/storage/blocks/reader.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

#define BLOCKS_IN_INPUT_MAX 64
#define CAP_BYTES           (1u << 20)
#define CAP_BLOCKS          256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct input {
  deai_bytes blocks[BLOCKS_IN_INPUT_MAX];
  size_t count;
} input;

static void require(int ok) {
  if (!ok) abort();
}

static void split(const uint8_t *data, size_t size, input *in) {
  size_t at = 0;
  while (size - at >= 2 && in->count < BLOCKS_IN_INPUT_MAX) {
    size_t len = (size_t)data[at] << 8 | data[at + 1];
    at += 2;
    if (len > size - at) len = size - at;
    in->blocks[in->count++] = deai_bytes_of(data + at, len);
    at += len;
  }
}

static int32_t get(void *user, const blocks_cid *cid, blocks_buf *buf, blocks_error *err) {
  const input *in = user;
  uint8_t choice = cid->digest_len > 0 ? cid->bytes[cid->len - 1] : 0;
  if (choice >= in->count) return blocks_fail(err, DEAI_ENOTFOUND, "no such block");
  buf->len = 0;
  return blocks_buf_add(buf, in->blocks[choice].ptr, (size_t)in->blocks[choice].len);
}

/* what decodes, once sorted, encodes to something that decodes to as many links */
static void check_codec(deai_bytes block) {
  blocks_pbnode node = {0};
  blocks_pbnode again = {0};
  blocks_unixfs fs;
  blocks_buf out = {0};
  blocks_error err;
  if (blocks_pbnode_decode(block, &node, &err) != DEAI_OK) return;
  if (blocks_unixfs_decode(&node, &fs, &err) == DEAI_OK && fs.sizes_count > 0) {
    uint64_t *sizes = calloc(fs.sizes_count, sizeof *sizes);
    uint64_t sum = 0;
    require(sizes != NULL);
    blocks_unixfs_sizes(&fs, sizes);
    for (uint32_t i = 0; i < fs.sizes_count; i++)
      sum += sizes[i];
    require(sum == fs.sizes_sum);
    free(sizes);
  }
  require(blocks_pblinks_sort(node.links, node.links_count) == DEAI_OK);
  require(blocks_pbnode_encode(&node, &out) == DEAI_OK);
  require(blocks_pbnode_decode(blocks_buf_bytes(&out), &again, &err) == DEAI_OK);
  require(again.links_count == node.links_count && again.has_data == node.has_data);
  require(deai_bytes_eq(again.data, node.data));
  blocks_pbnode_free(&node);
  blocks_pbnode_free(&again);
  blocks_buf_free(&out);
}

static int32_t count_entry(void *user, deai_bytes name, const blocks_cid *cid, uint64_t tsize) {
  (void)cid, (void)tsize;
  *(uint64_t *)user += name.len;
  return DEAI_OK;
}

static int32_t count_block(void *user, const blocks_cid *cid, deai_bytes block) {
  (void)cid;
  *(uint64_t *)user += block.len;
  return DEAI_OK;
}

static int32_t ignore_missing(void *user, const blocks_cid *cid) {
  (void)user, (void)cid;
  return DEAI_OK;
}

static void read_file(blocks_source source, const blocks_cid *root, blocks_caps caps) {
  blocks_reader *reader;
  blocks_error err;
  uint8_t bytes[257];
  if (blocks_reader_open(source, root, caps, &reader, &err) != DEAI_OK) return;
  uint64_t size = blocks_reader_size(reader);
  const uint64_t offsets[] = {0, 1, size / 2, size - 1, size, UINT64_MAX, 3};
  for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
    deai_buf dst = {.ptr = bytes, .cap = sizeof bytes};
    int64_t got = blocks_reader_read(reader, offsets[i], dst, &err);
    require(got <= (int64_t)sizeof bytes);
    if (offsets[i] >= size) require(got == 0);
    if (got > 0) require((uint64_t)got <= size - offsets[i]);
  }
  blocks_reader_close(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  input in = {0};
  blocks_caps caps = {.bytes_max = CAP_BYTES, .blocks_max = CAP_BLOCKS};
  blocks_source source = {.user = &in, .get = get};
  uint8_t digest[DEAI_HASH_BYTES] = {0};
  blocks_cid root, found;
  blocks_info info;
  blocks_buf buf = {0};
  blocks_error err;
  uint64_t total = 0;
  split(data, size, &in);
  for (size_t i = 0; i < in.count; i++)
    check_codec(in.blocks[i]);
  require(blocks_cid_make(BLOCKS_CODEC_DAG_PB, BLOCKS_HASH_SHA2_256,
                          deai_bytes_of(digest, sizeof digest), &root) == DEAI_OK);
  (void)!blocks_info_read(source, &root, &info, &err);
  (void)!blocks_symlink_read(source, &root, &buf, &err);
  (void)!blocks_resolve(source, &root, deai_str_of("a/470.txt//b"), &found, &err, NULL, NULL);
  (void)!blocks_directory_each(source, &root, caps, &err, &total, count_entry);
  (void)!blocks_dag_each(source, &root, true, caps, &err, &total, count_block, ignore_missing);
  (void)!blocks_dag_each(source, &root, false, caps, &err, &total, count_block, NULL);
  read_file(source, &root, caps);
  blocks_buf_free(&buf);
  return 0;
}
