#include "invite.h"

#include "deai/plugin.h"
#include "host/base/base32.h"

#include "host/base/banned.h"

_Static_assert(DEAI_INVITE_CODE_MAX == DEAI_BASE32_LEN(DEAI_INVITE_BYTES_MAX),
               "the header names the length of the longest code");

int32_t deai_invite_put(const deai_invite *invite, char *out, uint64_t cap) {
  uint8_t room[DEAI_INVITE_BYTES_MAX];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  int32_t status = deai_encode(&deai_invite_table, invite, &writer, NULL, 0);
  if (status != DEAI_OK) return status;
  return deai_base32_put(deai_bytes_of(room, writer.len), out, cap);
}

static int32_t refuse(const char *found, char *err, uint32_t err_cap) {
  return deai_err(err, err_cap, DEAI_EINVAL,
                  "expected a code of deai invite, found %s; copy all of it", found);
}

int32_t deai_invite_get(deai_str code, deai_invite_box *out, char *err, uint32_t err_cap) {
  uint64_t len = 0;
  deai_arena arena = {out->lists, sizeof out->lists, 0};
  if (code.len == 0 || code.len > DEAI_INVITE_CODE_MAX)
    return refuse(code.len == 0 ? "nothing" : "something longer", err, err_cap);
  if (deai_base32_get(code, (deai_buf){out->bytes, sizeof out->bytes}, &len) != DEAI_OK)
    return refuse("letters that are cut off or not of one", err, err_cap);
  if (deai_decode(&deai_invite_table, deai_bytes_of(out->bytes, len), &out->invite, &arena, NULL,
                  0) != DEAI_OK)
    return refuse("something else", err, err_cap);
  const deai_str *addresses = out->invite.a.items;
  for (uint64_t i = 0; i < out->invite.a.count; i++)
    if (addresses[i].len == 0) return refuse("an empty address", err, err_cap);
  return DEAI_OK;
}
