#include "deai/contracts/net.h"

#include "deai/contracts/ledger.h"

static const deai_field invite_rows[] = {
    DEAI_F_LIST(deai_invite, a, "a", DEAI_FIELD_TEXT, 1, DEAI_NET_ADDRS_MAX, DEAI_NET_ADDR_MAX),
    DEAI_F_FIXED(deai_invite, g, "g", DEAI_HASH_BYTES),
    DEAI_F_FIXED(deai_invite, k, "k", DEAI_KEY_BYTES),
    DEAI_F_FIXED(deai_invite, s, "s", DEAI_ID_BYTES),
};
const deai_table deai_invite_table = DEAI_TABLE_SIGNED("invite", deai_invite, invite_rows);

static const deai_field join_rows[] = {
    DEAI_F_FIXED(deai_net_join, code, "code", DEAI_ID_BYTES),
    DEAI_F_LIST_OF(deai_net_join, keys, "keys", 1, 4, &deai_account_key_table),
    DEAI_F_TEXT(deai_net_join, name, "name", 1, DEAI_NAME_MAX),
    DEAI_F_STRUCT(deai_net_join, record, "record", &deai_signed_table),
};
const deai_table deai_net_join_table = DEAI_TABLE_HEAD("net-join", deai_net_join, join_rows);

static const deai_field join_end_rows[] = {
    DEAI_F_UINT(deai_net_join_end, h, "h", 0, UINT64_MAX),
    DEAI_F_LIST_OF(deai_net_join_end, peers, "peers", 0, DEAI_NET_PEERS_MAX, &deai_signed_table),
};
const deai_table deai_net_join_end_table =
    DEAI_TABLE_HEAD("net-join-end", deai_net_join_end, join_end_rows);

static const deai_field channel_rows[] = {
    DEAI_F_STRUCT_OPT(deai_net_channel, v, "v", &deai_signed_table),
    DEAI_F_FIXED(deai_net_channel, ch, "ch", DEAI_ID_BYTES),
};
const deai_table deai_net_channel_table =
    DEAI_TABLE_HEAD("net-channel", deai_net_channel, channel_rows);

static const deai_field channel_end_rows[] = {
    DEAI_F_LIST_OF(deai_net_channel_end, r, "r", 0, DEAI_NET_RECEIPTS_MAX, &deai_signed_table),
    DEAI_F_UINT_OPT(deai_net_channel_end, s, "s", 0, UINT64_MAX),
    DEAI_F_STRUCT_OPT(deai_net_channel_end, v, "v", &deai_signed_table),
};
const deai_table deai_net_channel_end_table =
    DEAI_TABLE_HEAD("net-channel-end", deai_net_channel_end, channel_end_rows);
