#ifndef DEAI_CONTRACTS_NET_H
#define DEAI_CONTRACTS_NET_H

#include "deai/codec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* deai.net/1-draft: joining a network and settling with a member (docs/formats.md 5).

   method   class   arguments  parts and END
   join     public  net_join   body = genesis bytes; END net_join_end
   channel  guest   net_channel  END net_channel_end */

#define DEAI_NET_SERVICE      "deai.net/1-draft"
#define DEAI_NET_PEERS_MAX    64u
#define DEAI_NET_ADDRS_MAX    8u
#define DEAI_NET_ADDR_MAX     256u
#define DEAI_NET_RECEIPTS_MAX 16u

typedef struct deai_invite {
  deai_list a; /* deai_str: addresses host:port */
  uint8_t g[DEAI_HASH_BYTES];
  uint8_t k[DEAI_KEY_BYTES];
  uint8_t s[DEAI_ID_BYTES];
} deai_invite;

typedef struct deai_net_join {
  uint8_t code[DEAI_ID_BYTES];
  deai_list keys; /* deai_account_key */
  deai_str name;
  deai_signed record;
} deai_net_join;

typedef struct deai_net_join_end {
  uint64_t h;
  deai_list peers; /* deai_signed node records */
} deai_net_join_end;

typedef struct deai_net_channel { /* has: 0 v */
  uint64_t has;
  deai_signed v; /* a voucher of exactly what the receipts come to: nothing is owed */
  uint8_t ch[DEAI_ID_BYTES];
} deai_net_channel;
#define DEAI_NET_CHANNEL_HAS_V 1u

typedef struct deai_net_channel_end { /* has: 1 s, 2 v */
  uint64_t has;
  deai_list r;   /* deai_signed receipts since the last exact voucher, the newest ones */
  uint64_t s;    /* what all receipts of the channel come to */
  deai_signed v; /* the highest voucher the payee holds */
} deai_net_channel_end;
#define DEAI_NET_CHANNEL_END_HAS_S 2u
#define DEAI_NET_CHANNEL_END_HAS_V 4u

extern const deai_table deai_invite_table;
extern const deai_table deai_net_join_table;
extern const deai_table deai_net_join_end_table;
extern const deai_table deai_net_channel_table;
extern const deai_table deai_net_channel_end_table;

#ifdef __cplusplus
}
#endif

#endif
