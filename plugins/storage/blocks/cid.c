#include "cid.h"

#include "multibase.h"
#include "varint.h"

#include <stdio.h>
#include <string.h>

#include "host/base/banned.h"

#define V0_BYTES 34 /* 12 20 and 32 bytes */

static int32_t digest_len_check(uint64_t hash, uint64_t len, blocks_error *err) {
  if (hash == BLOCKS_HASH_IDENTITY && len <= BLOCKS_DIGEST_BYTES_MAX) return DEAI_OK;
  size_t natural = blocks_hash_bytes(hash);
  size_t max = natural > 0 ? natural : BLOCKS_DIGEST_BYTES_MAX;
  if (len >= 1 && len <= max) return DEAI_OK;
  return blocks_fail(err, DEAI_EINVAL,
                     "CID: expected a digest of 1 to %zu bytes for hash 0x%llx, found %llu", max,
                     (unsigned long long)hash, (unsigned long long)len);
}

static int32_t read_v0(deai_bytes bytes, blocks_cid *out, size_t *used_out, blocks_error *err) {
  if (bytes.len < V0_BYTES)
    return blocks_fail(err, DEAI_EINVAL, "CID: expected 34 bytes of version 0, found %llu",
                       (unsigned long long)bytes.len);
  *out = (blocks_cid){.codec = BLOCKS_CODEC_DAG_PB,
                      .hash = BLOCKS_HASH_SHA2_256,
                      .version = 0,
                      .len = V0_BYTES,
                      .digest_start = 2,
                      .digest_len = DEAI_HASH_BYTES};
  memcpy(out->bytes, bytes.ptr, V0_BYTES);
  *used_out = V0_BYTES;
  return DEAI_OK;
}

static int32_t read_number(deai_bytes *rest, uint64_t *out, const char *what, blocks_error *err) {
  int32_t len = blocks_varint_read(*rest, out);
  if (len < 0)
    return blocks_fail(err, len, "CID: expected a varint for the %s, found none or a longer form",
                       what);
  rest->ptr += len;
  rest->len -= (uint64_t)len;
  return DEAI_OK;
}

int32_t blocks_cid_read(deai_bytes bytes, blocks_cid *out, size_t *used_out, blocks_error *err) {
  if (bytes.len >= 2 && bytes.ptr[0] == 0x12 && bytes.ptr[1] == 0x20)
    return read_v0(bytes, out, used_out, err);
  deai_bytes rest = bytes;
  uint64_t version, codec, hash, digest_len;
  int32_t status = read_number(&rest, &version, "version", err);
  if (status != DEAI_OK) return status;
  if (version != 1)
    return blocks_fail(err, DEAI_EINVAL, "CID: expected version 1 (or 12 20 of 0), found %llu",
                       (unsigned long long)version);
  status = read_number(&rest, &codec, "codec", err);
  if (status == DEAI_OK) status = read_number(&rest, &hash, "hash function", err);
  if (status == DEAI_OK) status = read_number(&rest, &digest_len, "digest length", err);
  if (status == DEAI_OK) status = digest_len_check(hash, digest_len, err);
  if (status != DEAI_OK) return status;
  if (digest_len > rest.len)
    return blocks_fail(err, DEAI_EINVAL, "CID: expected a digest of %llu bytes, found %llu",
                       (unsigned long long)digest_len, (unsigned long long)rest.len);
  size_t start = (size_t)(bytes.len - rest.len);
  size_t len = start + (size_t)digest_len;
  *out = (blocks_cid){.codec = codec,
                      .hash = hash,
                      .version = 1,
                      .len = (uint8_t)len,
                      .digest_start = (uint8_t)start,
                      .digest_len = (uint8_t)digest_len};
  memcpy(out->bytes, bytes.ptr, len);
  *used_out = len;
  return DEAI_OK;
}

int32_t blocks_cid_of_bytes(deai_bytes bytes, blocks_cid *out, blocks_error *err) {
  size_t used = 0;
  int32_t status = blocks_cid_read(bytes, out, &used, err);
  if (status != DEAI_OK) return status;
  if (used != bytes.len)
    return blocks_fail(err, DEAI_EINVAL, "CID: expected its end after %zu bytes, found %llu", used,
                       (unsigned long long)bytes.len);
  return DEAI_OK;
}

int32_t blocks_cid_of_text(deai_str text, blocks_cid *out, blocks_error *err) {
  blocks_buf bytes = {0};
  char base = 'z';
  int32_t status;
  if (text.len >= BLOCKS_CID_TEXT_MAX)
    return blocks_fail(err, DEAI_EINVAL, "CID: expected at most %d characters, found %llu",
                       BLOCKS_CID_TEXT_MAX - 1, (unsigned long long)text.len);
  int is_v0 = text.len > 0 && text.ptr[0] == 'Q'; /* no base has this prefix */
  if (is_v0)
    status = blocks_multibase_decode_as('z', text, &bytes);
  else
    status = blocks_multibase_decode(text, &bytes, &base);
  if (status != DEAI_OK) {
    (void)blocks_fail(err, status, "CID: expected Qm... or a multibase text, found '%.*s': %s",
                      (int)(text.len < 64 ? text.len : 64), text.len ? text.ptr : "",
                      status == DEAI_EUNSUPPORTED ? "base not in this build" : "bad characters");
    if (status == DEAI_ETOOLARGE) status = DEAI_EINVAL;
  } else if (!is_v0 && bytes.len > 0 && bytes.ptr[0] == 0x12) {
    status = blocks_fail(err, DEAI_EINVAL,
                         "CID: version 0 is written without a base prefix, found '%c'", base);
  } else {
    status = blocks_cid_of_bytes(blocks_buf_bytes(&bytes), out, err);
    if (status == DEAI_OK && is_v0 && out->version != 0)
      status = blocks_fail(err, DEAI_EINVAL, "CID: version 1 needs its base prefix, found none");
  }
  blocks_buf_free(&bytes);
  return status;
}

int32_t blocks_cid_text(const blocks_cid *cid, char base, char *out, size_t cap) {
  if (base == 0) base = cid->version == 0 ? 'z' : 'b';
  if (cid->version == 0 && base != 'z') return DEAI_EINVAL;
  blocks_buf text = {0};
  int32_t status = blocks_multibase_encode(base, blocks_cid_bytes(cid), &text);
  size_t skip = cid->version == 0 ? 1 : 0;
  if (status == DEAI_OK && text.len - skip + 1 > cap) status = DEAI_ETOOLARGE;
  if (status == DEAI_OK) {
    memcpy(out, text.ptr + skip, text.len - skip);
    out[text.len - skip] = 0;
    status = (int32_t)(text.len - skip);
  }
  blocks_buf_free(&text);
  return status;
}

const char *blocks_cid_print(const blocks_cid *cid, blocks_cid_string *room) {
  if (blocks_cid_text(cid, 0, room->text, sizeof room->text) < 0)
    (void)snprintf(room->text, sizeof room->text, "(no CID)");
  return room->text;
}

int32_t blocks_cid_make(uint64_t codec, uint64_t hash, deai_bytes digest, blocks_cid *out) {
  int32_t status = digest_len_check(hash, digest.len, NULL);
  if (status != DEAI_OK) return status;
  if (codec > INT64_MAX || hash > INT64_MAX) return DEAI_EINVAL;
  *out = (blocks_cid){.codec = codec, .hash = hash, .version = 1};
  size_t at = 0;
  out->bytes[at++] = 1;
  at += blocks_varint_write(codec, out->bytes + at);
  at += blocks_varint_write(hash, out->bytes + at);
  at += blocks_varint_write(digest.len, out->bytes + at);
  if (digest.len > 0) memcpy(out->bytes + at, digest.ptr, (size_t)digest.len);
  out->digest_start = (uint8_t)at;
  out->digest_len = (uint8_t)digest.len;
  out->len = (uint8_t)(at + digest.len);
  return DEAI_OK;
}

void blocks_cid_of_block(uint64_t codec, deai_bytes data, blocks_cid *out) {
  uint8_t digest[DEAI_HASH_BYTES];
  blocks_sha256(data, digest);
  if (blocks_cid_make(codec, BLOCKS_HASH_SHA2_256, deai_bytes_of(digest, sizeof digest), out) !=
      DEAI_OK)
    *out = (blocks_cid){0}; /* only for a codec that is no varint */
}

int32_t blocks_cid_check(const blocks_cid *cid, deai_bytes data, blocks_error *err) {
  int32_t status = blocks_hash_check(cid->hash, blocks_cid_digest(cid), data);
  blocks_cid_string room;
  if (status == DEAI_EVERIFY)
    return blocks_fail(err, status, "block: expected the content of %.80s, found other bytes",
                       blocks_cid_print(cid, &room));
  if (status == DEAI_EUNSUPPORTED)
    return blocks_fail(
        err, status, "block %.80s: hash 0x%llx with %u digest bytes is not in this build",
        blocks_cid_print(cid, &room), (unsigned long long)cid->hash, (unsigned)cid->digest_len);
  if (status != DEAI_OK) return blocks_fail(err, status, "block: the hash function failed");
  return DEAI_OK;
}

blocks_cid blocks_cid_v1(const blocks_cid *cid) {
  if (cid->version == 1) return *cid;
  blocks_cid out;
  if (blocks_cid_make(cid->codec, cid->hash, blocks_cid_digest(cid), &out) != DEAI_OK) return *cid;
  return out;
}

int32_t blocks_cid_v0(const blocks_cid *cid, blocks_cid *out) {
  if (cid->codec != BLOCKS_CODEC_DAG_PB || cid->hash != BLOCKS_HASH_SHA2_256 ||
      cid->digest_len != DEAI_HASH_BYTES)
    return DEAI_EINVAL;
  uint8_t bytes[V0_BYTES] = {0x12, 0x20};
  size_t used;
  memcpy(bytes + 2, cid->bytes + cid->digest_start, DEAI_HASH_BYTES);
  return read_v0(deai_bytes_of(bytes, sizeof bytes), out, &used, NULL);
}

int32_t blocks_cid_equal(const blocks_cid *a, const blocks_cid *b) {
  return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}
