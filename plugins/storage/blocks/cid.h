#ifndef DEAI_PLUGINS_STORAGE_BLOCKS_CID_H
#define DEAI_PLUGINS_STORAGE_BLOCKS_CID_H

#include "base.h"
#include "hash.h"

/* A blocks_cid names a block by its content (multiformats/cid, versions 0 and 1).

     v0  12 20 digest                                 text: Qm..., bare base58btc, 46 characters
     v1  01 | codec | hash code | digest length | digest, varints    text: multibase

   Parsing is strict: minimal varints, no byte behind the CID, no multibase prefix before a v0,
   digest lengths that the hash function can have. A CID with an unknown hash function parses (it
   can be printed and passed on) and is refused with DEAI_EUNSUPPORTED where its block would have
   to be checked.

   Threads  [any].
   Memory   A plain value; compare with blocks_cid_equal.
   Limits   Digests of 1..128 bytes (identity 0..128), so a CID of at most 156 bytes. Messages
            between nodes take DEAI_CID_MAX bytes.
   Caveats  v0 and its v1 form (codec dag-pb) name the same block; blocks_cid_v1 brings both to one
            form, which is what the store uses as key. */

#define BLOCKS_CID_BYTES_MAX 156
#define BLOCKS_CID_TEXT_MAX  1280 /* base2 of the longest CID, its prefix and the zero */

#define BLOCKS_CODEC_RAW      0x55
#define BLOCKS_CODEC_DAG_PB   0x70
#define BLOCKS_CODEC_DAG_CBOR 0x71

typedef struct blocks_cid {
  uint64_t codec;
  uint64_t hash; /* multihash code */
  uint8_t version;
  uint8_t len;          /* of bytes */
  uint8_t digest_start; /* offset of the digest in bytes */
  uint8_t digest_len;
  uint8_t bytes[BLOCKS_CID_BYTES_MAX];
} blocks_cid;

/* blocks_cid_read reads the CID at the front of bytes and sets *used_out to its length.
   DEAI_EINVAL with the reason in err. */
DEAI_MUST_CHECK int32_t blocks_cid_read(deai_bytes bytes, blocks_cid *out, size_t *used_out,
                                        blocks_error *err);

/* blocks_cid_of_bytes reads bytes that hold a CID and nothing else. */
DEAI_MUST_CHECK int32_t blocks_cid_of_bytes(deai_bytes bytes, blocks_cid *out, blocks_error *err);

/* blocks_cid_of_text reads a CID as people write it: "Qm...", or multibase and version 1. */
DEAI_MUST_CHECK int32_t blocks_cid_of_text(deai_str text, blocks_cid *out, blocks_error *err);

/* blocks_cid_text writes the text with a terminating zero. base is a multibase character; v0 takes
   only 'z' and comes out bare; 0 chooses 'z' for v0 and 'b' for v1. Returns the length without the
   zero; DEAI_ETOOLARGE when cap is too small, DEAI_EUNSUPPORTED for an unknown base. */
DEAI_MUST_CHECK int32_t blocks_cid_text(const blocks_cid *cid, char base, char *out, size_t cap);

/* blocks_cid_print is the usual text of cid (base 0) in a buffer for messages; it cannot fail. */
typedef struct blocks_cid_string {
  char text[BLOCKS_CID_TEXT_MAX];
} blocks_cid_string;
const char *blocks_cid_print(const blocks_cid *cid, blocks_cid_string *room);

/* blocks_cid_make builds a version 1 CID of a given digest; DEAI_EINVAL for a bad length. */
DEAI_MUST_CHECK int32_t blocks_cid_make(uint64_t codec, uint64_t hash, deai_bytes digest,
                                        blocks_cid *out);

/* blocks_cid_of_block is the version 1 CID of data under sha2-256. */
void blocks_cid_of_block(uint64_t codec, deai_bytes data, blocks_cid *out);

/* blocks_cid_check returns 0 when data is the block that cid names, DEAI_EVERIFY when it is not,
   DEAI_EUNSUPPORTED for a hash that is not in this build; the reason goes into err. */
DEAI_MUST_CHECK int32_t blocks_cid_check(const blocks_cid *cid, deai_bytes data, blocks_error *err);

/* blocks_cid_v1 returns the version 1 form of cid. */
blocks_cid blocks_cid_v1(const blocks_cid *cid);

/* blocks_cid_v0 sets *out to the version 0 form; DEAI_EINVAL unless dag-pb and sha2-256. */
DEAI_MUST_CHECK int32_t blocks_cid_v0(const blocks_cid *cid, blocks_cid *out);

/* blocks_cid_equal returns 1 when both are the same bytes; v0 never equals v1. */
int32_t blocks_cid_equal(const blocks_cid *a, const blocks_cid *b);

/* blocks_cid_digest returns the digest, borrowed from cid. */
static inline deai_bytes blocks_cid_digest(const blocks_cid *cid) {
  return deai_bytes_of(cid->bytes + cid->digest_start, cid->digest_len);
}

/* blocks_cid_bytes returns the binary form, borrowed from cid. */
static inline deai_bytes blocks_cid_bytes(const blocks_cid *cid) {
  return deai_bytes_of(cid->bytes, cid->len);
}

#endif
