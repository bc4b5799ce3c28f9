#include "deai/contracts/wire.h"

static const char *const caller_names[] = {"plugin", "cli", "peer", "key", NULL};

static const deai_field hello_plugin_rows[] = {
    DEAI_F_TEXT(deai_hello_plugin, id, "id", 1, DEAI_NAME_MAX),
    DEAI_F_TEXT(deai_hello_plugin, version, "version", 1, DEAI_NAME_MAX),
};
static const deai_table hello_plugin_table =
    DEAI_TABLE_HEAD("hello.plugin", deai_hello_plugin, hello_plugin_rows);

static const deai_field hello_rows[] = {
    DEAI_F_FIXED_OPT(deai_hello_head, g, "g", DEAI_HASH_BYTES),
    DEAI_F_UINT_OPT(deai_hello_head, h, "h", 0, UINT64_MAX),
    DEAI_F_TEXT(deai_hello_head, n, "n", 0, 128),
    DEAI_F_LIST(deai_hello_head, v, "v", DEAI_FIELD_UINT, 1, 16, UINT64_MAX),
    DEAI_F_STRUCT_OPT(deai_hello_head, plugin, "plugin", &hello_plugin_table),
};
const deai_table deai_hello_head_table = DEAI_TABLE_HEAD("hello", deai_hello_head, hello_rows);

static const deai_field window_rows[] = {
    DEAI_F_UINT(deai_window_head, c, "c", 1, DEAI_WINDOW_MAX + DEAI_HEAD_MAX + DEAI_BODY_MAX),
};
const deai_table deai_window_head_table = DEAI_TABLE_HEAD("window", deai_window_head, window_rows);

static const deai_field update_rows[] = {
    DEAI_F_ANY(deai_update_head, a, "a", DEAI_HEAD_MAX),
    DEAI_F_TEXT(deai_update_head, topic, "topic", 1, DEAI_NAME_MAX),
};
const deai_table deai_update_head_table = DEAI_TABLE_HEAD("update", deai_update_head, update_rows);

static const deai_field log_rows[] = {
    DEAI_F_TEXT(deai_log_head, text, "text", 0, 4096),
    DEAI_F_UINT(deai_log_head, level, "level", 0, 4),
};
const deai_table deai_log_head_table = DEAI_TABLE_HEAD("log", deai_log_head, log_rows);

static const deai_field caller_rows[] = {
    DEAI_F_ENUM(deai_caller, kind, NULL, caller_names),
    DEAI_F_BYTES(deai_caller, id, NULL, 0, DEAI_NAME_MAX),
};
const deai_table deai_caller_table = DEAI_TABLE_TUPLE("caller", deai_caller, caller_rows);

static const deai_field call_rows[] = {
    DEAI_F_ANY_OPT(deai_call_head, a, "a", DEAI_HEAD_MAX),
    DEAI_F_STRUCT_OPT(deai_call_head, c, "c", &deai_caller_table),
    DEAI_F_FIXED_OPT(deai_call_head, j, "j", DEAI_ID_BYTES),
    DEAI_F_TEXT(deai_call_head, m, "m", 1, DEAI_NAME_MAX),
    DEAI_F_FIXED_OPT(deai_call_head, o, "o", DEAI_ID_BYTES),
    DEAI_F_TEXT(deai_call_head, s, "s", 1, DEAI_NAME_MAX),
    DEAI_F_UINT(deai_call_head, t, "t", 0, UINT32_MAX),
    DEAI_F_UINT_OPT(deai_call_head, u, "u", 0, UINT64_MAX),
    DEAI_F_STRUCT_OPT(deai_call_head, v, "v", &deai_signed_table),
    DEAI_F_ANY_OPT(deai_call_head, x, "x", 8192),
};
const deai_table deai_call_head_table = DEAI_TABLE_HEAD("call", deai_call_head, call_rows);

static const deai_field part_rows[] = {
    DEAI_F_ANY_OPT(deai_part_head, a, "a", DEAI_HEAD_MAX),
    DEAI_F_UINT_OPT(deai_part_head, u, "u", 0, UINT64_MAX),
    DEAI_F_STRUCT_OPT(deai_part_head, v, "v", &deai_signed_table),
    DEAI_F_FIXED_OPT(deai_part_head, w, "w", DEAI_KEY_BYTES),
};
const deai_table deai_part_head_table = DEAI_TABLE_HEAD("part", deai_part_head, part_rows);

static const deai_field end_rows[] = {
    DEAI_F_ANY_OPT(deai_end_head, a, "a", DEAI_HEAD_MAX),
    DEAI_F_STRUCT_OPT(deai_end_head, r, "r", &deai_signed_table),
    DEAI_F_UINT_OPT(deai_end_head, u, "u", 0, UINT64_MAX),
    DEAI_F_FIXED_OPT(deai_end_head, w, "w", DEAI_KEY_BYTES),
    DEAI_F_INT(deai_end_head, st, "st"),
    DEAI_F_TEXT_OPT(deai_end_head, why, "why", 0, 4096),
    DEAI_F_ANY_OPT(deai_end_head, others, "others", DEAI_OTHERS_BYTES),
};
const deai_table deai_end_head_table = DEAI_TABLE_HEAD("end", deai_end_head, end_rows);

static const deai_field other_rows[] = {
    DEAI_F_FIXED(deai_other, k, "k", DEAI_KEY_BYTES),
    DEAI_F_INT(deai_other, st, "st"),
    DEAI_F_TEXT(deai_other, why, "why", 0, DEAI_OTHER_WHY_MAX),
};
static const deai_table other_table = DEAI_TABLE_HEAD("other", deai_other, other_rows);

static const deai_field others_rows[] = {
    DEAI_F_LIST_OF(deai_others, n, "n", 0, DEAI_OTHERS_MAX, &other_table),
};
const deai_table deai_others_table = DEAI_TABLE_HEAD("others", deai_others, others_rows);

static const deai_field route_rows[] = {
    DEAI_F_FIXED_OPT(deai_route_head, to, "to", DEAI_KEY_BYTES),
    DEAI_F_BOOL_OPT(deai_route_head, away, "away"),
    DEAI_F_BOOL_OPT(deai_route_head, here, "here"),
    DEAI_F_LIST_OPT(deai_route_head, avoid, "avoid", DEAI_FIELD_BYTES, 1, 64, DEAI_KEY_BYTES),
    DEAI_F_CID_OPT(deai_route_head, model, "model"),
    DEAI_F_UINT_OPT(deai_route_head, price, "price", 0, UINT64_MAX),
    DEAI_F_UINT_OPT(deai_route_head, parent, "parent", 0, UINT64_MAX),
    DEAI_F_TEXT_OPT(deai_route_head, plugin, "plugin", 1, DEAI_NAME_MAX),
    DEAI_F_BOOL_OPT(deai_route_head, explain, "explain"),
};
const deai_table deai_route_head_table = DEAI_TABLE_HEAD("route", deai_route_head, route_rows);
