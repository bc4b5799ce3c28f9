#include "explain.h"

#include "deai/contracts/ledger.h"

#include <stdlib.h>

#include "host/base/banned.h"

static void member(answer_text *text, const char *name) {
  const uint8_t *last = text->len > 0 ? text->ptr + text->len - 1 : NULL;
  if (last != NULL && *last != '{') answer_text_add(text, ",");
  answer_text_json(text, deai_str_of(name));
  answer_text_add(text, ":");
}

static void member_text(answer_text *text, const char *name, const char *value) {
  if (value[0] == 0) return;
  member(text, name);
  answer_text_json(text, deai_str_of(value));
}

static void key(answer_text *text, const uint8_t *bytes) {
  answer_text_add(text, "\"");
  answer_hex(text, deai_bytes_of(bytes, DEAI_KEY_BYTES));
  answer_text_add(text, "\"");
}

static void member_base64(answer_text *text, const char *name, deai_bytes value) {
  if (value.len == 0) return;
  member(text, name);
  answer_text_json(text, (deai_str){(const char *)value.ptr, value.len});
}

/* other_nodes writes the nodes that did not serve. */
static void other_nodes(answer_text *text, const answer_other *rows, uint64_t count) {
  if (count == 0) return;
  member(text, "others");
  answer_text_add(text, "[");
  for (uint64_t i = 0; i < count; i++) {
    answer_text_add(text, i > 0 ? ",{" : "{");
    member(text, "node");
    key(text, rows[i].key);
    member_text(text, "status", deai_status_name(rows[i].status));
    member_text(text, "why", rows[i].why);
    answer_text_add(text, "}");
  }
  answer_text_add(text, "]");
}

void answer_others_read(answer_text *rows, deai_bytes others) {
  _Alignas(16) uint8_t room[DEAI_OTHERS_MAX * sizeof(deai_other) + 64];
  deai_arena arena = {room, sizeof room, 0};
  deai_others all;
  if (others.len == 0 || deai_decode(&deai_others_table, others, &all, &arena, NULL, 0) != DEAI_OK)
    return;
  const deai_other *list = all.n.items;
  for (uint64_t i = 0; i < all.n.count; i++) {
    answer_other row = {.status = (int32_t)list[i].st};
    if (list[i].st > 0 || list[i].st < DEAI_STATUS_MIN) row.status = DEAI_EINTERNAL;
    memcpy(row.key, list[i].k, DEAI_KEY_BYTES);
    memcpy(row.why, list[i].why.ptr, (size_t)list[i].why.len);
    answer_text_put(rows, &row, sizeof row);
  }
}

static void audit(answer_text *text, const answer_verdict *verdict) {
  member(text, "audit");
  answer_text_add(text, "{");
  member_text(text, "result", answer_audit_name(verdict->result));
  member_text(text, "why", verdict->why);
  if (verdict->has_auditor) {
    member(text, "by");
    key(text, verdict->auditor);
    member(text, "other_owner");
    answer_text_add(text, verdict->other_owner ? "true" : "false");
    member_text(text, "root", verdict->root_differs ? "unequal" : "equal");
  }
  if (verdict->has_wrong) {
    member(text, "wrong");
    answer_text_uint(text, verdict->wrong);
  }
  if (verdict->ids != ANSWER_IDS_NONE)
    member_text(text, "ids", verdict->ids == ANSWER_IDS_EQUAL ? "equal" : "unequal");
  member_text(text, "objection", verdict->objection);
  other_nodes(text, verdict->others, verdict->other_count);
  answer_text_add(text, "}");
}

void answer_explain_write(answer_text *text, const answer_explained *explained) {
  answer_text_add(text, ": explain {");
  member(text, "nodes");
  answer_text_add(text, "[");
  for (uint64_t at = 0; at + DEAI_KEY_BYTES <= explained->nodes.len; at += DEAI_KEY_BYTES) {
    if (at > 0) answer_text_add(text, ",");
    key(text, explained->nodes.ptr + at);
  }
  answer_text_add(text, "]");
  member_text(text, "why", explained->why);
  other_nodes(text, explained->others, explained->other_count);
  member(text, "first_ms");
  answer_text_uint(text, explained->first_ms);
  audit(text, explained->verdict);
  member_base64(text, "file", explained->file);
  member_base64(text, "audit_file", explained->audit_file);
  answer_text_add(text, "}\n\n");
}

static uint64_t id_at(const uint8_t *at) {
  return (uint64_t)at[0] | (uint64_t)at[1] << 8 | (uint64_t)at[2] << 16 | (uint64_t)at[3] << 24;
}

void answer_job_file(answer_text *out, deai_bytes receipt, deai_bytes args, deai_bytes body,
                     deai_bytes ids) {
  deai_job_file file = {.a = args, .body = body};
  uint64_t count = ids.len / sizeof(uint32_t);
  uint64_t cap = receipt.len + args.len + body.len + 5 * count + 64;
  if (receipt.len == 0) return;
  int32_t status = deai_decode(&deai_signed_table, receipt, &file.receipt, NULL, NULL, 0);
  uint64_t *list = malloc((size_t)count * sizeof *list + 1);
  uint8_t *room = malloc((size_t)cap);
  if (list == NULL || room == NULL) status = DEAI_ENOMEM;
  for (uint64_t i = 0; i < count && list != NULL; i++)
    list[i] = id_at(ids.ptr + 4 * i);
  file.ids = (deai_list){list, count};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, room != NULL ? cap : 0});
  if (status == DEAI_OK) status = deai_encode(&deai_job_file_table, &file, &writer, NULL, 0);
  if (status == DEAI_OK)
    answer_text_put(out, room, (size_t)writer.len);
  else
    out->status = status;
  free(list);
  free(room);
}
