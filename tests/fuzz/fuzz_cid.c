/* Fuzz target of CIDs: as bytes, as text, and of multibase. What parses must print and parse to the
   same CID. */
#include "plugins/storage/blocks/cid.h"
#include "plugins/storage/blocks/multibase.h"

#include <stdlib.h>
#include <string.h>

#include "host/base/banned.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int ok) {
  if (!ok) abort();
}

static void round_trip(const blocks_cid *cid) {
  static const char bases[] = "bzkfuF0";
  char text[BLOCKS_CID_TEXT_MAX];
  blocks_cid again;
  blocks_error err;
  require(blocks_cid_of_bytes(blocks_cid_bytes(cid), &again, &err) == DEAI_OK);
  require(blocks_cid_equal(cid, &again));
  for (const char *base = bases; *base != 0; base++) {
    int32_t len = blocks_cid_text(cid, cid->version == 0 ? 0 : *base, text, sizeof text);
    require(len > 0 && (size_t)len == strlen(text));
    require(blocks_cid_of_text(deai_str_of(text), &again, &err) == DEAI_OK);
    require(blocks_cid_equal(cid, &again));
  }
  blocks_cid v1 = blocks_cid_v1(cid);
  require(v1.version == 1);
  if (cid->version == 0) {
    require(blocks_cid_v0(&v1, &again) == DEAI_OK);
    require(blocks_cid_equal(cid, &again));
  }
}

static void check_multibase(deai_str text) {
  blocks_buf bytes = {0};
  blocks_buf again = {0};
  blocks_buf back = {0};
  char base = 0;
  if (blocks_multibase_decode(text, &bytes, &base) == DEAI_OK) {
    require(blocks_multibase_encode(base, blocks_buf_bytes(&bytes), &again) == DEAI_OK);
    deai_str rest = {.ptr = (const char *)again.ptr, .len = again.len};
    require(blocks_multibase_decode(rest, &back, &base) == DEAI_OK);
    require(deai_bytes_eq(blocks_buf_bytes(&bytes), blocks_buf_bytes(&back)));
  }
  blocks_buf_free(&bytes);
  blocks_buf_free(&again);
  blocks_buf_free(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  blocks_cid cid;
  blocks_error err;
  size_t used = 0;
  deai_str text = {.ptr = (const char *)data, .len = size};
  if (blocks_cid_read(deai_bytes_of(data, size), &cid, &used, &err) == DEAI_OK) {
    require(used == cid.len && used <= size);
    round_trip(&cid);
    (void)!blocks_cid_check(&cid, deai_bytes_of(data, size), &err);
  }
  if (blocks_cid_of_text(text, &cid, &err) == DEAI_OK) round_trip(&cid);
  check_multibase(text);
  return 0;
}
