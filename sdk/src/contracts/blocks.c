#include "deai/contracts/blocks.h"

static const deai_field have_rows[] = {
    DEAI_F_LIST(deai_blocks_have, cids, "cids", DEAI_FIELD_CID, 1, DEAI_BLOCKS_HAVE_MAX,
                DEAI_CID_MAX),
};
const deai_table deai_blocks_have_table =
    DEAI_TABLE_HEAD("blocks-have", deai_blocks_have, have_rows);

static const deai_field have_end_rows[] = {
    DEAI_F_BYTES(deai_blocks_have_end, bits, "bits", 1, DEAI_BLOCKS_HAVE_MAX / 8),
};
const deai_table deai_blocks_have_end_table =
    DEAI_TABLE_HEAD("blocks-have-end", deai_blocks_have_end, have_end_rows);

static const deai_field cid_rows[] = {DEAI_F_CID(deai_blocks_cid, cid, "cid")};
const deai_table deai_blocks_cid_table = DEAI_TABLE_HEAD("blocks-cid", deai_blocks_cid, cid_rows);

static const deai_field entry_rows[] = {
    DEAI_F_CID(deai_blocks_entry, cid, "cid"),
    DEAI_F_TEXT(deai_blocks_entry, name, "name", 1, 255),
};
const deai_table deai_blocks_entry_table =
    DEAI_TABLE_HEAD("blocks-entry", deai_blocks_entry, entry_rows);

static const deai_field add_rows[] = {
    DEAI_F_LIST_OF_OPT(deai_blocks_add, dir, "dir", 0, 4096, &deai_blocks_entry_table),
    DEAI_F_BOOL_OPT(deai_blocks_add, pin, "pin"),
    DEAI_F_TEXT_OPT(deai_blocks_add, name, "name", 0, 255),
    DEAI_F_TEXT_OPT(deai_blocks_add, profile, "profile", 1, DEAI_NAME_MAX),
};
const deai_table deai_blocks_add_table = DEAI_TABLE_HEAD("blocks-add", deai_blocks_add, add_rows);

static const deai_field added_rows[] = {
    DEAI_F_CID(deai_blocks_added, cid, "cid"),
    DEAI_F_UINT(deai_blocks_added, size, "size", 0, UINT64_MAX),
    DEAI_F_UINT(deai_blocks_added, blocks, "blocks", 0, UINT64_MAX),
};
const deai_table deai_blocks_added_table =
    DEAI_TABLE_HEAD("blocks-added", deai_blocks_added, added_rows);

static const deai_field stat_rows[] = {
    DEAI_F_UINT(deai_blocks_stat, have, "have", 0, UINT64_MAX),
    DEAI_F_UINT(deai_blocks_stat, pins, "pins", 0, UINT64_MAX),
    DEAI_F_UINT(deai_blocks_stat, size, "size", 0, UINT64_MAX),
    DEAI_F_UINT(deai_blocks_stat, blocks, "blocks", 0, UINT64_MAX),
};
const deai_table deai_blocks_stat_table =
    DEAI_TABLE_HEAD("blocks-stat", deai_blocks_stat, stat_rows);

static const deai_field progress_rows[] = {
    DEAI_F_UINT(deai_blocks_progress, of, "of", 0, UINT64_MAX),
    DEAI_F_UINT(deai_blocks_progress, done, "done", 0, UINT64_MAX),
};
const deai_table deai_blocks_progress_table =
    DEAI_TABLE_HEAD("blocks-progress", deai_blocks_progress, progress_rows);

static const deai_field list_rows[] = {
    DEAI_F_UINT_OPT(deai_blocks_list, max, "max", 1, 1024),
    DEAI_F_BYTES_OPT(deai_blocks_list, after, "after", 1, DEAI_CID_MAX),
};
const deai_table deai_blocks_list_table =
    DEAI_TABLE_HEAD("blocks-list", deai_blocks_list, list_rows);

static const deai_field list_end_rows[] = {
    DEAI_F_LIST(deai_blocks_list_end, cids, "cids", DEAI_FIELD_CID, 0, 1024, DEAI_CID_MAX),
    DEAI_F_BYTES_OPT(deai_blocks_list_end, next, "next", 1, DEAI_CID_MAX),
};
const deai_table deai_blocks_list_end_table =
    DEAI_TABLE_HEAD("blocks-list-end", deai_blocks_list_end, list_end_rows);

static const deai_field verify_end_rows[] = {
    DEAI_F_LIST(deai_blocks_verify_end, bad, "bad", DEAI_FIELD_CID, 0, 1024, DEAI_CID_MAX),
};
const deai_table deai_blocks_verify_end_table =
    DEAI_TABLE_HEAD("blocks-verify-end", deai_blocks_verify_end, verify_end_rows);

static const deai_field collect_end_rows[] = {
    DEAI_F_UINT(deai_blocks_collect_end, kept, "kept", 0, UINT64_MAX),
    DEAI_F_UINT(deai_blocks_collect_end, bytes, "bytes", 0, UINT64_MAX),
    DEAI_F_UINT(deai_blocks_collect_end, freed, "freed", 0, UINT64_MAX),
};
const deai_table deai_blocks_collect_end_table =
    DEAI_TABLE_HEAD("blocks-collect-end", deai_blocks_collect_end, collect_end_rows);

static const deai_field read_rows[] = {
    DEAI_F_CID(deai_blocks_read, cid, "cid"),
    DEAI_F_UINT_OPT(deai_blocks_read, len, "len", 0, UINT64_MAX),
    DEAI_F_UINT_OPT(deai_blocks_read, off, "off", 0, UINT64_MAX),
    DEAI_F_TEXT_OPT(deai_blocks_read, path, "path", 0, 4096),
};
const deai_table deai_blocks_read_table =
    DEAI_TABLE_HEAD("blocks-read", deai_blocks_read, read_rows);

static const char *const kind_names[] = {"file", "dir", "link", NULL};

static const deai_field read_end_rows[] = {
    DEAI_F_CID(deai_blocks_read_end, cid, "cid"),
    DEAI_F_ENUM(deai_blocks_read_end, kind, "kind", kind_names),
    DEAI_F_UINT(deai_blocks_read_end, size, "size", 0, UINT64_MAX),
};
const deai_table deai_blocks_read_end_table =
    DEAI_TABLE_HEAD("blocks-read-end", deai_blocks_read_end, read_end_rows);

static const deai_field entries_end_rows[] = {
    DEAI_F_LIST_OF(deai_blocks_entries_end, dir, "dir", 0, 4096, &deai_blocks_entry_table),
};
const deai_table deai_blocks_entries_end_table =
    DEAI_TABLE_HEAD("blocks-entries-end", deai_blocks_entries_end, entries_end_rows);
