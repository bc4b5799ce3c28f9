#include "tests/plugins/storage/blocks/carrier.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

#define LIMIT_MS   60000u
#define CALL_MS    50000u
#define PART_BYTES (1u << 20)

/* ---- members ---- */

typedef struct served {
  carrier *fix;
  deai_call *call;
  uint32_t member;
} served;

static void member_key(uint32_t member, uint8_t key[DEAI_KEY_BYTES]) {
  memset(key, (int)member + 1, DEAI_KEY_BYTES);
}

static void served_send(const served *one, deai_bytes body, int32_t status, bool is_end) {
  uint8_t key[DEAI_KEY_BYTES];
  member_key(one->member, key);
  deai_part part = {.size = (uint32_t)sizeof part,
                    .flags = is_end ? DEAI_PART_END : 0,
                    .attachment = -1,
                    .body = body,
                    .status = status,
                    .why = deai_str_of(status != DEAI_OK ? "not here" : NULL),
                    .provider = deai_bytes_of(key, sizeof key)};
  ck_assert_int_eq(deai_call_take(one->call, DEAI_SIDE_CALLEE, &part), DEAI_OK);
}

static int32_t served_part(void *user, const deai_part *part) {
  served *one = user;
  carrier *fix = one->fix;
  member_kind kind = fix->members[one->member];
  deai_blocks_cid asked;
  blocks_cid cid;
  blocks_buf block = {0};
  ck_assert_int_eq(deai_decode(&deai_blocks_cid_table, part->args, &asked, NULL, NULL, 0), 0);
  ck_assert_int_eq(blocks_cid_of_bytes(asked.cid, &cid, NULL), DEAI_OK);
  fix->asked[one->member]++;
  if (kind == MEMBER_TIRED && fix->asked[one->member] > TIRED_ANSWERS) return DEAI_OK;
  int32_t status =
      kind == MEMBER_EMPTY ? DEAI_ENOTFOUND : blocks_store_get(fix->source, &cid, &block, NULL);
  if (kind == MEMBER_BUSY && fix->asked[one->member] == 1) status = DEAI_EBUSY;
  if (kind == MEMBER_LIAR && status == DEAI_OK && block.len > 0)
    block.ptr[block.len / 2] = (uint8_t)~block.ptr[block.len / 2];
  for (size_t at = 0; status == DEAI_OK && at < block.len; at += 65536) {
    size_t len = block.len - at < 65536 ? block.len - at : 65536;
    served_send(one, deai_bytes_of(block.ptr + at, len), DEAI_OK, false);
  }
  served_send(one, deai_bytes_of(NULL, 0), status, true);
  blocks_buf_free(&block);
  return DEAI_OK;
}

static void served_cancel(void *user, int32_t status) {
  const served *one = user;
  served_send(one, deai_bytes_of(NULL, 0), status, true);
}

static void served_closed(void *user) {
  served *one = user;
  one->fix->open_now--;
  free(one);
}

static const deai_end_ops served_ops = {
    .part = served_part, .cancel = served_cancel, .closed = served_closed};

static bool avoided(const deai_call_spec *spec, uint32_t member) {
  uint8_t key[DEAI_KEY_BYTES];
  member_key(member, key);
  for (uint64_t at = 0; at < spec->avoid.len; at += DEAI_KEY_BYTES) {
    if (memcmp(spec->avoid.ptr + at, key, DEAI_KEY_BYTES) == 0) return true;
  }
  return false;
}

/* open_away is the router of the test: the first member that is not avoided. */
static deai_call *open_away(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                            void *end_user) {
  carrier *fix = user;
  uint32_t member = 0;
  deai_call *call = deai_call_new(fix->loop, spec, ops, end_user);
  ck_assert_ptr_nonnull(call);
  ck_assert_uint_eq(spec->flags & DEAI_CALL_AWAY, DEAI_CALL_AWAY);
  while (member < fix->member_count && avoided(spec, member))
    member++;
  if (member == fix->member_count) {
    deai_call_fail(call, DEAI_ENOPROVIDER, "no member left");
    return call;
  }
  served *one = calloc(1, sizeof *one);
  ck_assert_ptr_nonnull(one);
  *one = (served){fix, call, member};
  fix->open_now++;
  if (fix->open_now > fix->open_max) fix->open_max = fix->open_now;
  deai_call_attach(call, &served_ops, one);
  return call;
}

static const deai_instance_ops instance_ops = {.open = open_away};

/* ---- the plug-in ---- */

static void on_limit(void *user) {
  (void)user;
  ck_abort_msg("the test did not end in %u ms", LIMIT_MS);
}

static void on_ready(void *user, const char *plugin, bool running) {
  (void)plugin;
  carrier *fix = user;
  fix->running = running;
  deai_loop_stop(fix->loop);
}

static deai_bytes settings(void) {
  static uint8_t room[64];
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  deai_cbor_put_map(&writer, 1);
  deai_cbor_put_text(&writer, deai_str_of("cap"));
  deai_cbor_put_uint(&writer, 0);
  return deai_bytes_of(room, writer.len);
}

static void begin_here(carrier *fix) {
  char err[DEAI_ERR_CAP] = "";
  ck_assert_msg(deai_loader_load(&fix->loaded, err, sizeof err) == DEAI_OK, "%s", err);
  deai_instance_options options = {.loop = fix->loop,
                                   .loaded = &fix->loaded,
                                   .settings = settings(),
                                   .folder = fix->folder,
                                   .ops = &instance_ops,
                                   .user = fix};
  fix->instance = deai_instance_new(&options, err, sizeof err);
  ck_assert_msg(fix->instance != NULL, "%s", err);
  ck_assert_int_eq(deai_instance_start(fix->instance, err, sizeof err), DEAI_OK);
}

static void begin_child(carrier *fix) {
  deai_child_options options = {.loop = fix->loop,
                                .loaded = &fix->loaded,
                                .settings = settings(),
                                .folder = fix->folder,
                                .plughost = getenv("DEAI_PLUGHOST"),
                                .ops = &instance_ops,
                                .user = fix,
                                .ready = on_ready};
  fix->child = deai_child_new(&options);
  ck_assert_ptr_nonnull(fix->child);
  deai_loop_run(fix->loop);
  ck_assert_msg(fix->running, "%s", deai_child_reason(fix->child));
}

void carrier_begin(carrier *fix, const char *name, bool in_child) {
  char err[DEAI_ERR_CAP] = "";
  (void)snprintf(fix->folder, sizeof fix->folder, "%s", store_path(name));
  (void)mkdir(fix->folder, 0700);
  fix->loop = deai_loop_new(deai_platform_system(), 1);
  fix->limit = deai_timer_new(fix->loop, on_limit, fix);
  deai_timer_set(fix->limit, LIMIT_MS);
  ck_assert_msg(deai_loader_open(&fix->loaded, getenv("DEAI_BLOCKS_PLUGIN"), NULL, err,
                                 sizeof err) == DEAI_OK,
                "%s", err);
  if (in_child)
    begin_child(fix);
  else
    begin_here(fix);
}

static void on_stopped(void *user) {
  carrier *fix = user;
  deai_loop_stop(fix->loop);
}

void carrier_end(carrier *fix) {
  if (fix->child != NULL) {
    deai_child_stop(fix->child, on_stopped, fix);
    deai_loop_run(fix->loop);
    ck_assert_str_eq(deai_child_state(fix->child), "stopped");
    deai_child_free(fix->child);
  } else {
    ck_assert_uint_eq(deai_instance_faults(fix->instance), 0);
    deai_instance_free(fix->instance);
  }
  deai_loop_drain(fix->loop);
  deai_timer_free(fix->limit);
  deai_loop_free(fix->loop);
  deai_loader_close(&fix->loaded);
  ck_assert_uint_eq(fix->open_now, 0);
}

/* ---- the caller ---- */

static void asker_send(asker *who) {
  uint8_t *body = malloc(PART_BYTES);
  ck_assert_ptr_nonnull(body);
  while (!who->ended && (who->hold_at == 0 || who->sent < who->hold_at)) {
    uint64_t left = who->size - who->sent;
    uint64_t len = left < PART_BYTES ? left : PART_BYTES;
    bool is_end = len == left;
    if (len > 0) keystream(who->seed, who->sent, body, (size_t)len);
    deai_part part = {.size = (uint32_t)sizeof part,
                      .flags = is_end ? DEAI_PART_END : 0,
                      .attachment = -1,
                      .body = deai_bytes_of(body, len)};
    int32_t status = deai_call_send(who->call, DEAI_SIDE_CALLER, &part);
    if (status == DEAI_EAGAIN) break;
    who->sent += len;
    who->ended = is_end || status != DEAI_OK; /* refused: its END is on its way */
  }
  free(body);
}

static void keep_args(blocks_buf *to, deai_bytes args) {
  to->len = 0;
  ck_assert_int_eq(blocks_buf_add(to, args.ptr, (size_t)args.len), DEAI_OK);
}

static void resume(void *user) {
  asker *who = user;
  if (!who->closed) deai_call_resume(who->call, DEAI_SIDE_CALLER);
}

static int32_t asker_part(void *user, const deai_part *part) {
  asker *who = user;
  bool is_end = (part->flags & DEAI_PART_END) != 0;
  who->refused = !who->refused;
  if (who->slow && who->refused && !is_end) {
    deai_loop_task(who->loop, resume, who);
    return DEAI_EAGAIN;
  }
  if (who->parts++ == 0) keep_args(&who->first, part->args);
  ck_assert_int_eq(blocks_buf_add(&who->body, part->body.ptr, (size_t)part->body.len), DEAI_OK);
  if (part->attachment >= 0) {
    ck_assert_int_lt(who->attachment, 0);
    who->attachment = part->attachment;
  }
  if (is_end) {
    keep_args(&who->last, part->args);
    who->ends++;
    who->status = part->status;
    (void)snprintf(who->why, sizeof who->why, "%.*s", (int)part->why.len, part->why.ptr);
  }
  if (who->stop_at > 0 && who->body.len >= who->stop_at) deai_loop_stop(who->loop);
  return DEAI_OK;
}

static void asker_drain(void *user) {
  asker_send(user);
}

static void asker_closed(void *user) {
  asker *who = user;
  who->closed = true;
  deai_loop_stop(who->loop);
}

static const deai_end_ops asker_ops = {
    .part = asker_part, .drain = asker_drain, .closed = asker_closed};

void ask_begin(carrier *fix, asker *who, const char *service, const char *method, deai_bytes args,
               uint32_t caller_kind) {
  deai_call_spec spec = {.service = deai_str_of(service),
                         .method = deai_str_of(method),
                         .time_ms = CALL_MS,
                         .caller_kind = caller_kind,
                         .caller_class = DEAI_CLASS_LOCAL};
  who->loop = fix->loop;
  who->attachment = -1;
  who->call = deai_call_new(fix->loop, &spec, &asker_ops, who);
  ck_assert_ptr_nonnull(who->call);
  ck_assert_int_eq(fix->child != NULL ? deai_child_serve(fix->child, who->call)
                                      : deai_instance_serve(fix->instance, who->call),
                   DEAI_OK);
  deai_part first = {.size = (uint32_t)sizeof first,
                     .flags = who->size == 0 && who->seed == NULL ? DEAI_PART_END : 0,
                     .attachment = -1,
                     .args = args};
  ck_assert_int_eq(deai_call_send(who->call, DEAI_SIDE_CALLER, &first), DEAI_OK);
  if (who->seed != NULL) asker_send(who);
}

void ask_wait(carrier *fix, asker *who) {
  while (!who->closed)
    deai_loop_run(fix->loop);
  ck_assert_uint_eq(who->ends, 1);
}

asker ask(carrier *fix, const char *method, const deai_table *table, const void *value,
          int32_t status) {
  static uint8_t room[DEAI_HEAD_MAX];
  char err[DEAI_ERR_CAP] = "";
  asker who = {0};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  if (table == NULL)
    deai_cbor_put_map(&writer, 0);
  else
    ck_assert_msg(deai_encode(table, value, &writer, err, sizeof err) == DEAI_OK, "%s", err);
  ask_begin(fix, &who, DEAI_BLOCKS_SERVICE, method, deai_bytes_of(room, writer.len),
            DEAI_CALLER_CLI);
  ask_wait(fix, &who);
  ck_assert_msg(who.status == status, "%s: expected %s, found %s: %s", method,
                deai_status_name(status), deai_status_name(who.status), who.why);
  return who;
}

void ask_free(asker *who) {
  blocks_buf_free(&who->body);
  blocks_buf_free(&who->first);
  blocks_buf_free(&who->last);
  if (who->attachment >= 0) (void)close(who->attachment);
  who->attachment = -1;
}

asker ask_cid(carrier *fix, const char *method, const blocks_cid *cid, int32_t status) {
  deai_blocks_cid value = {.cid = blocks_cid_bytes(cid)};
  return ask(fix, method, &deai_blocks_cid_table, &value, status);
}

blocks_cid add_seed(carrier *fix, const char *seed, uint64_t size) {
  uint8_t empty = 0xa0;
  deai_blocks_added added;
  blocks_cid cid;
  asker who = {.seed = seed, .size = size};
  ask_begin(fix, &who, DEAI_BLOCKS_SERVICE, "add", deai_bytes_of(&empty, 1), DEAI_CALLER_CLI);
  ask_wait(fix, &who);
  ck_assert_msg(who.status == DEAI_OK, "add: %s", who.why);
  ck_assert_int_eq(
      deai_decode(&deai_blocks_added_table, blocks_buf_bytes(&who.last), &added, NULL, NULL, 0), 0);
  ck_assert_uint_eq(added.size, size);
  ck_assert_int_eq(blocks_cid_of_bytes(added.cid, &cid, NULL), DEAI_OK);
  ask_free(&who);
  return cid;
}
