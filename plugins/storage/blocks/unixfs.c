#include "unixfs.h"

#include "varint.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

/* protobuf keys of UnixFS Data: field number << 3 | wire type */
#define KEY_TYPE      0x08
#define KEY_DATA      0x12
#define KEY_FILESIZE  0x18
#define KEY_SIZE      0x20
#define KEY_SIZES     0x22 /* the packed form, which only a reader meets */
#define KEY_HASH_TYPE 0x28
#define KEY_FANOUT    0x30
#define KEY_MODE      0x38
#define KEY_MTIME     0x42
#define KEY_SECONDS   0x08
#define KEY_NANOS     0x15 /* fixed32 */

#define HASH_MURMUR3_X64_64 0x22
#define NANOS_MAX           999999999u

static int32_t take_number(deai_bytes *rest, uint64_t *out, blocks_error *err) {
  int32_t len = blocks_varint_read_pb(*rest, out);
  if (len < 0) return blocks_fail(err, len, "UnixFS: expected a whole varint, found its end");
  rest->ptr += len;
  rest->len -= (uint64_t)len;
  return DEAI_OK;
}

static int32_t take_bytes(deai_bytes *rest, deai_bytes *out, blocks_error *err) {
  uint64_t len = 0;
  int32_t status = take_number(rest, &len, err);
  if (status != DEAI_OK) return status;
  if (len > rest->len)
    return blocks_fail(err, DEAI_EINVAL, "UnixFS: expected %llu bytes of a field, found %llu",
                       (unsigned long long)len, (unsigned long long)rest->len);
  *out = deai_bytes_of(rest->ptr, len);
  rest->ptr += len;
  rest->len -= len;
  return DEAI_OK;
}

static int32_t add_size(blocks_unixfs *out, uint64_t size, blocks_error *err) {
  if (size > UINT64_MAX / 2 - out->sizes_sum)
    return blocks_fail(err, DEAI_EINVAL, "UnixFS: block sizes above 2^63 bytes");
  out->sizes_sum += size;
  out->sizes_count++;
  return DEAI_OK;
}

static int32_t decode_packed(blocks_unixfs *out, deai_bytes field, blocks_error *err) {
  int32_t status = DEAI_OK;
  while (field.len > 0 && status == DEAI_OK) {
    uint64_t size = 0;
    status = take_number(&field, &size, err);
    if (status == DEAI_OK) status = add_size(out, size, err);
  }
  return status;
}

static int32_t decode_mtime(blocks_unixfs *out, deai_bytes field, blocks_error *err) {
  bool has_seconds = false;
  while (field.len > 0) {
    uint64_t key = 0;
    uint64_t seconds = 0;
    int32_t status = take_number(&field, &key, err);
    if (status != DEAI_OK) return status;
    if (key == KEY_SECONDS) {
      status = take_number(&field, &seconds, err);
      if (status != DEAI_OK) return status;
      out->mtime_s = (int64_t)seconds;
      has_seconds = true;
    } else if (key == KEY_NANOS && field.len >= 4) {
      out->mtime_ns = (uint32_t)field.ptr[0] | (uint32_t)field.ptr[1] << 8 |
                      (uint32_t)field.ptr[2] << 16 | (uint32_t)field.ptr[3] << 24;
      if (out->mtime_ns < 1 || out->mtime_ns > NANOS_MAX)
        return blocks_fail(err, DEAI_EINVAL, "UnixFS: expected 1 to 999999999 ns, found %u",
                           out->mtime_ns);
      field.ptr += 4;
      field.len -= 4;
    } else {
      return blocks_fail(err, DEAI_EINVAL, "UnixFS: unknown field in mtime");
    }
  }
  out->has_mtime = has_seconds;
  return has_seconds ? DEAI_OK : blocks_fail(err, DEAI_EINVAL, "UnixFS: mtime without seconds");
}

static int32_t decode_bytes_field(blocks_unixfs *out, uint64_t key, deai_bytes *rest,
                                  blocks_error *err) {
  deai_bytes field = {0};
  int32_t status = take_bytes(rest, &field, err);
  if (status != DEAI_OK) return status;
  if (key == KEY_SIZES) return decode_packed(out, field, err);
  if (key == KEY_MTIME) return decode_mtime(out, field, err);
  out->data = field;
  out->has_data = true;
  return DEAI_OK;
}

static int32_t decode_number_field(blocks_unixfs *out, uint64_t key, deai_bytes *rest,
                                   blocks_error *err) {
  uint64_t value = 0;
  int32_t status = take_number(rest, &value, err);
  if (status != DEAI_OK) return status;
  if (key == KEY_SIZE) return add_size(out, value, err);
  if (key == KEY_FILESIZE) {
    out->filesize = value;
    out->has_filesize = true;
  } else if (key == KEY_HASH_TYPE) {
    out->hash_type = value;
  } else if (key == KEY_FANOUT) {
    out->fanout = value;
  } else if (key == KEY_MODE) {
    out->mode = (uint32_t)value;
    out->has_mode = true;
  } else if (value <= BLOCKS_UNIXFS_HAMT) {
    out->type = (blocks_unixfs_type)value;
  } else {
    return blocks_fail(err, DEAI_EINVAL, "UnixFS: expected a type of 0 to 5, found %llu",
                       (unsigned long long)value);
  }
  return DEAI_OK;
}

static int32_t decode_fields(deai_bytes rest, blocks_unixfs *out, bool *has_type,
                             blocks_error *err) {
  uint32_t seen = 0; /* bit = field number; all but block sizes come once */
  int32_t status = DEAI_OK;
  while (rest.len > 0 && status == DEAI_OK) {
    uint64_t key = 0;
    status = take_number(&rest, &key, err);
    if (status != DEAI_OK) return status;
    uint32_t bit = key < 128 ? 1u << (key >> 3) : 0;
    bool repeated = key == KEY_SIZE || key == KEY_SIZES;
    if ((seen & bit) != 0 && !repeated)
      return blocks_fail(err, DEAI_EINVAL, "UnixFS: field %llu twice",
                         (unsigned long long)(key >> 3));
    seen |= bit;
    if (key == KEY_DATA || key == KEY_SIZES || key == KEY_MTIME)
      status = decode_bytes_field(out, key, &rest, err);
    else if (key == KEY_TYPE || key == KEY_FILESIZE || key == KEY_SIZE || key == KEY_HASH_TYPE ||
             key == KEY_FANOUT || key == KEY_MODE)
      status = decode_number_field(out, key, &rest, err);
    else
      return blocks_fail(err, DEAI_EINVAL, "UnixFS: unknown field or wire type, key 0x%llx",
                         (unsigned long long)key);
  }
  *has_type = (seen & 1u << 1) != 0;
  return status;
}

static int32_t check_file(const blocks_pbnode *node, const blocks_unixfs *fs, blocks_error *err) {
  if (fs->sizes_count != node->links_count)
    return blocks_fail(err, DEAI_EINVAL, "UnixFS: expected one block size a link, found %u and %u",
                       fs->sizes_count, node->links_count);
  uint64_t sum = fs->data.len + fs->sizes_sum;
  if (fs->has_filesize && fs->filesize != sum)
    return blocks_fail(err, DEAI_EINVAL, "UnixFS: expected a file size of %llu, found %llu",
                       (unsigned long long)sum, (unsigned long long)fs->filesize);
  return DEAI_OK;
}

static int32_t check_hamt(const blocks_unixfs *fs, blocks_error *err) {
  uint64_t fanout = fs->fanout;
  bool fits = fanout >= 8 && fanout <= BLOCKS_HAMT_FANOUT_MAX && (fanout & (fanout - 1)) == 0;
  if (!fits)
    return blocks_fail(err, DEAI_EINVAL,
                       "UnixFS: expected a fanout that is a power of two in 8..1024, found %llu",
                       (unsigned long long)fanout);
  if (fs->hash_type != HASH_MURMUR3_X64_64)
    return blocks_fail(err, DEAI_EUNSUPPORTED,
                       "UnixFS: shard hash 0x%llx is not in this build, only murmur3-x64-64",
                       (unsigned long long)fs->hash_type);
  return DEAI_OK;
}

int32_t blocks_unixfs_decode(const blocks_pbnode *node, blocks_unixfs *out, blocks_error *err) {
  *out = (blocks_unixfs){0};
  bool has_type = false;
  if (!node->has_data)
    return blocks_fail(err, DEAI_EINVAL, "UnixFS: expected Data in the node, found none");
  int32_t status = decode_fields(node->data, out, &has_type, err);
  if (status != DEAI_OK) return status;
  if (!has_type) return blocks_fail(err, DEAI_EINVAL, "UnixFS: expected a Type, found none");
  out->sizes = node->data;
  if (out->type == BLOCKS_UNIXFS_FILE || out->type == BLOCKS_UNIXFS_RAW) {
    status = check_file(node, out, err);
    out->filesize = out->data.len + out->sizes_sum;
    return status;
  }
  return out->type == BLOCKS_UNIXFS_HAMT ? check_hamt(out, err) : DEAI_OK;
}

static void sizes_packed(deai_bytes field, uint64_t *sizes, uint32_t *at, uint32_t count) {
  while (field.len > 0 && *at < count && take_number(&field, &sizes[*at], NULL) == DEAI_OK)
    (*at)++;
}

void blocks_unixfs_sizes(const blocks_unixfs *fs, uint64_t *sizes) {
  deai_bytes rest = fs->sizes; /* decoded before, so nothing below can fail */
  uint32_t at = 0;
  while (rest.len > 0 && at < fs->sizes_count) {
    uint64_t key = 0;
    uint64_t value = 0;
    deai_bytes field = {0};
    if (take_number(&rest, &key, NULL) != DEAI_OK) return;
    if (key == KEY_DATA || key == KEY_SIZES || key == KEY_MTIME) {
      if (take_bytes(&rest, &field, NULL) != DEAI_OK) return;
      if (key == KEY_SIZES) sizes_packed(field, sizes, &at, fs->sizes_count);
    } else {
      if (take_number(&rest, &value, NULL) != DEAI_OK) return;
      if (key == KEY_SIZE) sizes[at++] = value;
    }
  }
}

static int32_t put_number(blocks_buf *out, uint8_t key, uint64_t value) {
  uint8_t bytes[1 + BLOCKS_VARINT_BYTES_MAX];
  bytes[0] = key;
  size_t len = 1 + blocks_varint_write(value, bytes + 1);
  return blocks_buf_add(out, bytes, len);
}

static int32_t finish_node(blocks_pbnode *node, blocks_buf *data, blocks_buf *block,
                           blocks_child *out) {
  size_t start = block->len;
  node->data = blocks_buf_bytes(data);
  node->has_data = true;
  int32_t status = blocks_pbnode_encode(node, block);
  if (status != DEAI_OK) return status;
  deai_bytes bytes = deai_bytes_of(block->ptr + start, block->len - start);
  blocks_cid_of_block(BLOCKS_CODEC_DAG_PB, bytes, &out->cid);
  out->dag_bytes += bytes.len;
  return DEAI_OK;
}

static int32_t file_data(const blocks_child *children, uint32_t count, blocks_buf *data,
                         blocks_child *out) {
  for (uint32_t i = 0; i < count; i++) {
    if (children[i].file_bytes > UINT64_MAX / 2 - out->file_bytes) return DEAI_ETOOLARGE;
    out->file_bytes += children[i].file_bytes;
    out->dag_bytes += children[i].dag_bytes;
  }
  int32_t status = put_number(data, KEY_TYPE, BLOCKS_UNIXFS_FILE);
  if (status == DEAI_OK) status = put_number(data, KEY_FILESIZE, out->file_bytes);
  for (uint32_t i = 0; i < count && status == DEAI_OK; i++)
    status = put_number(data, KEY_SIZE, children[i].file_bytes);
  return status;
}

int32_t blocks_unixfs_file_node(const blocks_child *children, uint32_t count, blocks_buf *block,
                                blocks_child *node_out) {
  if (count < 1 || count > BLOCKS_NODE_LINKS_MAX) return DEAI_EINVAL;
  blocks_child made = {0};
  blocks_buf data = {0};
  blocks_pblink *links = calloc(count, sizeof *links);
  if (links == NULL) return DEAI_ENOMEM;
  for (uint32_t i = 0; i < count; i++)
    links[i] = (blocks_pblink){.hash = blocks_cid_bytes(&children[i].cid),
                               .tsize = children[i].dag_bytes,
                               .has_name = true, /* empty: storage.md 1.2, trap 1 */
                               .has_tsize = true};
  blocks_pbnode node = {.links = links, .links_count = count};
  int32_t status = file_data(children, count, &data, &made);
  if (status == DEAI_OK) status = finish_node(&node, &data, block, &made);
  if (status == DEAI_OK) *node_out = made;
  blocks_buf_free(&data);
  free(links);
  return status;
}

int32_t blocks_unixfs_name_check(deai_bytes name, blocks_error *err) {
  bool dots = (name.len == 1 && name.ptr[0] == '.') ||
              (name.len == 2 && name.ptr[0] == '.' && name.ptr[1] == '.');
  if (name.len == 0 || dots)
    return blocks_fail(err, DEAI_EINVAL, "name: expected a file name, found '%.*s'", (int)name.len,
                       name.len ? (const char *)name.ptr : "");
  if (name.len > BLOCKS_UNIXFS_NAME_MAX)
    return blocks_fail(err, DEAI_EINVAL, "name: expected at most %d bytes, found %llu",
                       BLOCKS_UNIXFS_NAME_MAX, (unsigned long long)name.len);
  if (memchr(name.ptr, '/', (size_t)name.len) || memchr(name.ptr, 0, (size_t)name.len))
    return blocks_fail(err, DEAI_EINVAL, "name: expected none of '/' and zero, found one");
  return DEAI_OK;
}

static int32_t directory_links(const blocks_entry *entries, uint32_t count, blocks_pblink *links,
                               blocks_child *out, blocks_error *err) {
  for (uint32_t i = 0; i < count; i++) {
    const blocks_entry *entry = &entries[i];
    deai_bytes name = deai_bytes_of(entry->name.ptr, entry->name.len);
    int32_t status = blocks_unixfs_name_check(name, err);
    if (status != DEAI_OK) return status;
    if (entry->dag_bytes > UINT64_MAX / 2 - out->dag_bytes) return DEAI_ETOOLARGE;
    out->dag_bytes += entry->dag_bytes;
    links[i] = (blocks_pblink){.hash = blocks_cid_bytes(&entry->cid),
                               .name = name,
                               .tsize = entry->dag_bytes,
                               .has_name = true,
                               .has_tsize = true};
  }
  int32_t status = blocks_pblinks_sort(links, count);
  for (uint32_t i = 1; i < count && status == DEAI_OK; i++)
    if (deai_bytes_eq(links[i - 1].name, links[i].name))
      status = blocks_fail(err, DEAI_EINVAL, "directory: name '%.*s' twice", (int)links[i].name.len,
                           (const char *)links[i].name.ptr);
  return status;
}

int32_t blocks_unixfs_directory(blocks_entry *entries, uint32_t count, blocks_buf *block,
                                blocks_child *node_out, blocks_error *err) {
  blocks_child made = {0};
  blocks_buf data = {0};
  if (count > BLOCKS_PBLINKS_MAX)
    return blocks_fail(err, DEAI_EUNSUPPORTED,
                       "directory: %u entries need sharding, "
                       "which is not in this build",
                       count);
  blocks_pblink *links = calloc(count + 1u, sizeof *links);
  if (links == NULL) return blocks_fail(err, DEAI_ENOMEM, "directory: no memory");
  blocks_pbnode node = {.links = links, .links_count = count};
  int32_t status = directory_links(entries, count, links, &made, err);
  if (status == DEAI_OK) status = put_number(&data, KEY_TYPE, BLOCKS_UNIXFS_DIRECTORY);
  node.data = blocks_buf_bytes(&data);
  node.has_data = true;
  size_t bytes = blocks_pbnode_encode_bytes(&node);
  if (status == DEAI_OK && bytes > BLOCKS_DIRECTORY_BYTES)
    status = blocks_fail(err, DEAI_EUNSUPPORTED,
                         "directory: its block of %zu bytes is above %d and needs sharding, which "
                         "is not in this build; use several directories",
                         bytes, BLOCKS_DIRECTORY_BYTES);
  if (status == DEAI_OK) status = finish_node(&node, &data, block, &made);
  if (status == DEAI_OK) *node_out = made;
  blocks_buf_free(&data);
  free(links);
  return status;
}

int32_t blocks_unixfs_symlink(deai_str target, blocks_buf *block, blocks_child *node_out,
                              blocks_error *err) {
  if (target.len < 1 || target.len > BLOCKS_UNIXFS_TARGET_MAX ||
      memchr(target.ptr, 0, (size_t)target.len) != NULL)
    return blocks_fail(err, DEAI_EINVAL,
                       "symlink: expected a target of 1 to %d bytes without a zero, found %llu",
                       BLOCKS_UNIXFS_TARGET_MAX, (unsigned long long)target.len);
  blocks_child made = {0};
  blocks_buf data = {0};
  blocks_pbnode node = {0};
  int32_t status = put_number(&data, KEY_TYPE, BLOCKS_UNIXFS_SYMLINK);
  if (status == DEAI_OK) status = put_number(&data, KEY_DATA, target.len);
  if (status == DEAI_OK) status = blocks_buf_add(&data, target.ptr, (size_t)target.len);
  if (status == DEAI_OK) status = finish_node(&node, &data, block, &made);
  if (status == DEAI_OK) *node_out = made;
  blocks_buf_free(&data);
  return status;
}

static uint64_t rotate(uint64_t x, int by) {
  return x << by | x >> (64 - by);
}

static uint64_t mix(uint64_t x) {
  x = (x ^ x >> 33) * 0xff51afd7ed558ccdull;
  x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ull;
  return x ^ x >> 33;
}

static uint64_t load(const uint8_t *at, uint64_t len) {
  uint64_t word = 0;
  for (uint64_t i = 0; i < len; i++)
    word |= (uint64_t)at[i] << (8 * i);
  return word;
}

/* MurmurHash3_x64_128 of Austin Appleby (public domain): constants and rotations of SMHasher */
uint64_t blocks_hamt_hash(deai_bytes name) {
  const uint64_t c1 = 0x87c37b91114253d5ull;
  const uint64_t c2 = 0x4cf5ad432745937full;
  uint64_t h1 = 0;
  uint64_t h2 = 0;
  const uint8_t *at = name.ptr;
  uint64_t left = name.len;
  for (; left >= 16; left -= 16, at += 16) {
    h1 ^= rotate(load(at, 8) * c1, 31) * c2;
    h1 = (rotate(h1, 27) + h2) * 5 + 0x52dce729;
    h2 ^= rotate(load(at + 8, 8) * c2, 33) * c1;
    h2 = (rotate(h2, 31) + h1) * 5 + 0x38495ab5;
  }
  if (left > 8) h2 ^= rotate(load(at + 8, left - 8) * c2, 33) * c1;
  if (left > 0) h1 ^= rotate(load(at, left < 8 ? left : 8) * c1, 31) * c2;
  h1 ^= name.len;
  h2 ^= name.len;
  h1 += h2;
  h2 += h1;
  h1 = mix(h1);
  h2 = mix(h2);
  return h1 + h2;
}
