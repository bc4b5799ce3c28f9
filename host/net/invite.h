#ifndef DEAI_HOST_NET_INVITE_H
#define DEAI_HOST_NET_INVITE_H

#include "deai/contracts/net.h"

/* An invite code is what `deai invite` prints and a person copies to the new node: the base32 text
   of the CBOR map `invite`. Each invitation has exactly one text; whoever has it can join once.

   Threads  [any]
   Memory   A box holds the invitation and all it points into; it is not moved or copied.
   Limits   DEAI_INVITE_BYTES_MAX bytes, DEAI_INVITE_CODE_MAX characters
   Source   docs/formats.md 5, invite */

#define DEAI_INVITE_BYTES_MAX 4096u
#define DEAI_INVITE_CODE_MAX  6554u /* base32 of DEAI_INVITE_BYTES_MAX, without the final zero */

typedef struct deai_invite_box {
  deai_invite invite;
  uint8_t bytes[DEAI_INVITE_BYTES_MAX];
  _Alignas(16) uint8_t lists[DEAI_NET_ADDRS_MAX * sizeof(deai_str) + 16];
} deai_invite_box;

/* deai_invite_put writes the code of invite and a final zero to out. DEAI_ETOOLARGE when it does
   not fit, DEAI_EINVAL when the invitation breaks its limits. */
DEAI_MUST_CHECK int32_t deai_invite_put(const deai_invite *invite, char *out, uint64_t cap);

/* deai_invite_get reads a code that somebody copied. DEAI_EINVAL with a text for anything that
   deai_invite_put does not make, and for an empty address. */
DEAI_MUST_CHECK int32_t deai_invite_get(deai_str code, deai_invite_box *out, char *err,
                                        uint32_t err_cap);

#endif
