#include "dagpb.h"

#include "varint.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

/* protobuf keys: field number << 3 | wire type (0 varint, 2 length-delimited) */
#define KEY_NODE_DATA  0x0a
#define KEY_NODE_LINKS 0x12
#define KEY_LINK_HASH  0x0a
#define KEY_LINK_NAME  0x12
#define KEY_LINK_TSIZE 0x18

static int32_t take_number(deai_bytes *rest, uint64_t *out, blocks_error *err) {
  int32_t len = blocks_varint_read_pb(*rest, out);
  if (len < 0) return blocks_fail(err, len, "dag-pb: expected a whole varint, found its end");
  rest->ptr += len;
  rest->len -= (uint64_t)len;
  return DEAI_OK;
}

static int32_t take_bytes(deai_bytes *rest, deai_bytes *out, blocks_error *err) {
  uint64_t len = 0;
  int32_t status = take_number(rest, &len, err);
  if (status != DEAI_OK) return status;
  if (len > rest->len)
    return blocks_fail(err, DEAI_EINVAL, "dag-pb: expected %llu bytes of a field, found %llu",
                       (unsigned long long)len, (unsigned long long)rest->len);
  *out = deai_bytes_of(rest->ptr, len);
  rest->ptr += len;
  rest->len -= len;
  return DEAI_OK;
}

static int32_t decode_hash(deai_bytes *rest, blocks_pblink *link, blocks_error *err) {
  blocks_cid cid;
  int32_t status = take_bytes(rest, &link->hash, err);
  return status == DEAI_OK ? blocks_cid_of_bytes(link->hash, &cid, err) : status;
}

static int32_t decode_link(deai_bytes rest, blocks_pblink *link, blocks_error *err) {
  *link = (blocks_pblink){0};
  uint64_t last_key = 0;
  while (rest.len > 0) {
    uint64_t key = 0;
    int32_t status = take_number(&rest, &key, err);
    if (status != DEAI_OK) return status;
    if (key <= last_key)
      return blocks_fail(err, DEAI_EINVAL,
                         "dag-pb link: expected Hash, Name, Tsize once and in this order");
    last_key = key;
    if (key == KEY_LINK_HASH) {
      status = decode_hash(&rest, link, err);
    } else if (key == KEY_LINK_NAME) {
      link->has_name = true;
      status = take_bytes(&rest, &link->name, err);
    } else if (key == KEY_LINK_TSIZE) {
      link->has_tsize = true;
      status = take_number(&rest, &link->tsize, err);
    } else {
      status = blocks_fail(err, DEAI_EINVAL, "dag-pb link: unknown field or wire type, key 0x%llx",
                           (unsigned long long)key);
    }
    if (status != DEAI_OK) return status;
  }
  if (link->hash.len == 0)
    return blocks_fail(err, DEAI_EINVAL, "dag-pb link: expected a Hash, found none");
  return DEAI_OK;
}

static int32_t add_link(blocks_pbnode *node, const blocks_pblink *link, uint32_t *cap,
                        blocks_error *err) {
  if (node->links_count == BLOCKS_PBLINKS_MAX)
    return blocks_fail(err, DEAI_ETOOLARGE, "dag-pb: more than %d links in one node",
                       BLOCKS_PBLINKS_MAX);
  if (node->links_count == *cap) {
    uint32_t grown = *cap == 0 ? 16 : *cap * 2;
    blocks_pblink *links = realloc(node->links, grown * sizeof *links);
    if (links == NULL) return blocks_fail(err, DEAI_ENOMEM, "dag-pb: no memory for links");
    node->links = links;
    *cap = grown;
  }
  node->links[node->links_count++] = *link;
  return DEAI_OK;
}

static int32_t decode_field(uint64_t key, deai_bytes field, blocks_pbnode *out, uint32_t *cap,
                            bool *links_done, blocks_error *err) {
  if (key == KEY_NODE_DATA) {
    if (out->has_data) return blocks_fail(err, DEAI_EINVAL, "dag-pb: Data twice");
    out->has_data = true;
    out->data = field;
    *links_done = out->links_count > 0;
    return DEAI_OK;
  }
  if (*links_done) return blocks_fail(err, DEAI_EINVAL, "dag-pb: Links before and behind Data");
  blocks_pblink link;
  int32_t status = decode_link(field, &link, err);
  return status == DEAI_OK ? add_link(out, &link, cap, err) : status;
}

int32_t blocks_pbnode_decode(deai_bytes block, blocks_pbnode *out, blocks_error *err) {
  *out = (blocks_pbnode){0};
  uint32_t cap = 0;
  bool links_done = false;
  int32_t status = DEAI_OK;
  deai_bytes rest = block;
  while (rest.len > 0 && status == DEAI_OK) {
    uint64_t key = 0;
    deai_bytes field = {0};
    status = take_number(&rest, &key, err);
    if (status == DEAI_OK && key != KEY_NODE_DATA && key != KEY_NODE_LINKS)
      status = blocks_fail(err, DEAI_EINVAL, "dag-pb: unknown field or wire type, key 0x%llx",
                           (unsigned long long)key);
    if (status == DEAI_OK) status = take_bytes(&rest, &field, err);
    if (status == DEAI_OK) status = decode_field(key, field, out, &cap, &links_done, err);
  }
  if (status != DEAI_OK) blocks_pbnode_free(out);
  return status;
}

void blocks_pbnode_free(blocks_pbnode *node) {
  free(node->links);
  *node = (blocks_pbnode){0};
}

blocks_cid blocks_pblink_cid(const blocks_pblink *link) {
  blocks_cid cid;
  if (blocks_cid_of_bytes(link->hash, &cid, NULL) != DEAI_OK) return (blocks_cid){0};
  return cid;
}

static size_t field_bytes(uint64_t len) {
  return 1 + blocks_varint_len(len) + (size_t)len;
}

static size_t link_bytes(const blocks_pblink *link) {
  size_t len = field_bytes(link->hash.len);
  if (link->has_name) len += field_bytes(link->name.len);
  if (link->has_tsize) len += 1 + blocks_varint_len(link->tsize);
  return len;
}

size_t blocks_pbnode_encode_bytes(const blocks_pbnode *node) {
  size_t len = 0;
  for (uint32_t i = 0; i < node->links_count; i++)
    len += field_bytes(link_bytes(&node->links[i]));
  return node->has_data ? len + field_bytes(node->data.len) : len;
}

static void put_number(blocks_buf *out, uint8_t key, uint64_t value) {
  out->ptr[out->len++] = key;
  out->len += blocks_varint_write(value, out->ptr + out->len);
}

static void put_field(blocks_buf *out, uint8_t key, deai_bytes bytes) {
  put_number(out, key, bytes.len);
  if (bytes.len > 0) memcpy(out->ptr + out->len, bytes.ptr, (size_t)bytes.len);
  out->len += (size_t)bytes.len;
}

static int name_compare(const blocks_pblink *a, const blocks_pblink *b) {
  uint64_t len = a->name.len < b->name.len ? a->name.len : b->name.len;
  int order = len > 0 ? memcmp(a->name.ptr, b->name.ptr, (size_t)len) : 0;
  if (order != 0) return order;
  return a->name.len < b->name.len ? -1 : a->name.len > b->name.len;
}

static int32_t encode_check(const blocks_pbnode *node) {
  blocks_cid cid;
  for (uint32_t i = 0; i < node->links_count; i++) {
    if (blocks_cid_of_bytes(node->links[i].hash, &cid, NULL) != DEAI_OK) return DEAI_EINVAL;
    if (i > 0 && name_compare(&node->links[i - 1], &node->links[i]) > 0) return DEAI_EINVAL;
  }
  return DEAI_OK;
}

int32_t blocks_pbnode_encode(const blocks_pbnode *node, blocks_buf *out) {
  if (encode_check(node) != DEAI_OK) return DEAI_EINVAL;
  size_t room = blocks_pbnode_encode_bytes(node) + BLOCKS_VARINT_BYTES_MAX;
  int32_t status = blocks_buf_reserve(out, out->len + room);
  if (status != DEAI_OK) return status;
  for (uint32_t i = 0; i < node->links_count; i++) {
    const blocks_pblink *link = &node->links[i];
    put_number(out, KEY_NODE_LINKS, link_bytes(link));
    put_field(out, KEY_LINK_HASH, link->hash);
    if (link->has_name) put_field(out, KEY_LINK_NAME, link->name);
    if (link->has_tsize) put_number(out, KEY_LINK_TSIZE, link->tsize);
  }
  if (node->has_data) put_field(out, KEY_NODE_DATA, node->data);
  return DEAI_OK;
}

static void merge_runs(const blocks_pblink *from, blocks_pblink *to, uint32_t low, uint32_t mid,
                       uint32_t high) {
  uint32_t left = low;
  uint32_t right = mid;
  for (uint32_t k = low; k < high; k++) {
    bool take_left = left < mid && (right >= high || name_compare(&from[left], &from[right]) <= 0);
    to[k] = take_left ? from[left++] : from[right++];
  }
}

int32_t blocks_pblinks_sort(blocks_pblink *links, uint32_t count) {
  if (count < 2) return DEAI_OK;
  blocks_pblink *spare = malloc(count * sizeof *spare);
  if (spare == NULL) return DEAI_ENOMEM;
  blocks_pblink *from = links;
  blocks_pblink *to = spare;
  for (uint32_t width = 1; width < count; width *= 2) {
    for (uint32_t low = 0; low < count; low += 2 * width) {
      uint32_t mid = low + width < count ? low + width : count;
      uint32_t high = low + 2 * width < count ? low + 2 * width : count;
      merge_runs(from, to, low, mid, high);
    }
    blocks_pblink *swap = from;
    from = to;
    to = swap;
  }
  if (from != links) memcpy(links, from, count * sizeof *links);
  free(spare);
  return DEAI_OK;
}
