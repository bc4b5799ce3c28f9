#include "instance.h"

#include "deai/contracts/ledger.h"
#include "deai/contracts/wire.h"
#include "deai/host.h"
#include "host/base/assertion.h"
#include "host/base/buffer.h"
#include "host/base/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/base/banned.h"

#define SLOT_BUCKETS 256u

typedef enum instance_state {
  STATE_NEW,
  STATE_CREATED,
  STATE_STARTED,
  STATE_STOPPED
} instance_state;

/* One call served or made, under the ticket number that the plug-in knows. */
typedef struct slot {
  struct slot *next; /* in its bucket */
  deai_instance *instance;
  uint64_t ticket;
  deai_call *call;
  bool served;
  bool began; /* on_call was delivered */
  bool held;  /* the plug-in answered DEAI_EAGAIN */
  bool wants_drain;
} slot;

typedef struct timer_item {
  struct timer_item *next;
  deai_instance *instance;
  deai_timer *timer;
  void (*call)(deai_inst *inst, void *user);
  void *user;
} timer_item;

typedef struct posted {
  deai_instance *instance;
  void (*work)(void *user);
  void (*call)(deai_inst *inst, void *user);
  void *user;
} posted;

/* deai_ctx is what the plug-in holds; it is the first member, so that one pointer is the other. */
struct deai_ctx {
  deai_instance *instance;
};

struct deai_instance {
  struct deai_ctx ctx;
  deai_loop *loop;
  deai_loaded *loaded;
  deai_instance_ops ops;
  void *user;
  char *folder;
  deai_inst *inst;
  instance_state state;
  uint64_t next_ticket;
  uint32_t served_count;
  uint32_t made_count;
  slot *slots[SLOT_BUCKETS];
  timer_item *timers;
  atomic_uint refs; /* the owner, and posts and work on their way */
  atomic_uint posts_waiting;
  atomic_bool accepts; /* started and not stopped: read on any thread */
  atomic_uint_fast64_t faults;
  pthread_mutex_t work_lock;
  pthread_cond_t work_idle;
  uint32_t work_running;
};

static void instance_unref(deai_instance *instance) {
  if (atomic_fetch_sub(&instance->refs, 1) > 1) return;
  (void)pthread_mutex_destroy(&instance->work_lock);
  (void)pthread_cond_destroy(&instance->work_idle);
  free(instance->folder);
  free(instance);
}

static void fault(deai_instance *instance, const char *function, const char *what) {
  atomic_fetch_add(&instance->faults, 1);
  deai_log(DEAI_LEVEL_ERROR, instance->loaded->manifest.id, "%s: expected %s", function, what);
}

/* guard returns whether a [loop] function was called rightly. */
static bool guard(deai_instance *instance, const char *function, bool started) {
  if (!deai_loop_on_thread(instance->loop)) {
    fault(instance, function, "the loop thread");
    return false;
  }
  if (started && instance->state != STATE_STARTED) {
    fault(instance, function, "a started plug-in");
    return false;
  }
  return true;
}

/* ---- slots ---- */

static slot *slot_find(deai_instance *instance, uint64_t ticket) {
  slot *at = instance->slots[ticket % SLOT_BUCKETS];
  while (at != NULL && at->ticket != ticket)
    at = at->next;
  return at;
}

static slot *slot_new(deai_instance *instance, bool served) {
  slot *made = calloc(1, sizeof *made);
  if (made == NULL) return NULL;
  made->instance = instance;
  made->served = served;
  made->ticket = ++instance->next_ticket;
  slot **bucket = &instance->slots[made->ticket % SLOT_BUCKETS];
  made->next = *bucket;
  *bucket = made;
  if (served)
    instance->served_count++;
  else
    instance->made_count++;
  return made;
}

static void slot_free(slot *gone) {
  deai_instance *instance = gone->instance;
  slot **at = &instance->slots[gone->ticket % SLOT_BUCKETS];
  while (*at != gone)
    at = &(*at)->next;
  *at = gone->next;
  if (gone->served)
    instance->served_count--;
  else
    instance->made_count--;
  free(gone);
}

static void resume_held(deai_instance *instance) {
  for (uint32_t i = 0; i < SLOT_BUCKETS; i++) {
    for (slot *at = instance->slots[i]; at != NULL; at = at->next) {
      if (!at->held) continue;
      at->held = false;
      deai_call_resume(at->call, at->served ? DEAI_SIDE_CALLEE : DEAI_SIDE_CALLER);
    }
  }
}

/* ---- the plug-in as an end of a call ---- */

static int32_t begin_call(slot *at, const deai_part *part) {
  char err[DEAI_ERR_CAP] = "";
  deai_instance *instance = at->instance;
  deai_call *call = at->call;
  const deai_call_spec *spec = deai_call_about(call);
  deai_call_info info = {.size = (uint32_t)sizeof info,
                         .caller_kind = spec->caller_kind,
                         .caller_id = spec->caller_id,
                         .origin = spec->origin,
                         .job = spec->job,
                         .service = spec->service,
                         .method = spec->method,
                         .time_left_ms = deai_call_time_left_ms(call),
                         .units = spec->units};
  at->began = true;
  int32_t status = instance->loaded->plugin.on_call(instance->inst, at->ticket, &info, part, err,
                                                    (uint32_t)sizeof err);
  if (status >= 0) return DEAI_OK;
  if (status == DEAI_EAGAIN || status < DEAI_STATUS_MIN) status = DEAI_EINTERNAL;
  deai_call_fail(call, status, "%s", err[0] != 0 ? err : deai_status_text(status));
  return DEAI_OK;
}

static int32_t slot_part(void *user, const deai_part *part) {
  slot *at = user;
  deai_instance *instance = at->instance;
  if (at->served && !at->began) return begin_call(at, part);
  if (instance->loaded->plugin.on_part == NULL) {
    if (part->attachment >= 0) (void)close(part->attachment);
    return DEAI_OK;
  }
  uint64_t ticket = at->ticket;
  int32_t status = instance->loaded->plugin.on_part(instance->inst, ticket, part);
  at = slot_find(instance, ticket); /* it may have ended its call */
  if (status != DEAI_EAGAIN || at == NULL) return DEAI_OK;
  at->held = true;
  return DEAI_EAGAIN;
}

static void slot_drain(void *user) {
  slot *at = user;
  deai_instance *instance = at->instance;
  at->wants_drain = false;
  if (instance->loaded->plugin.on_drain != NULL)
    instance->loaded->plugin.on_drain(instance->inst, at->ticket);
  resume_held(instance);
}

static void slot_cancel(void *user, int32_t status) {
  slot *at = user;
  deai_instance *instance = at->instance;
  if (at->began && !deai_call_ended(at->call)) {
    instance->loaded->plugin.on_cancel(instance->inst, at->ticket, status);
    resume_held(instance);
    return;
  }
  if (!at->began) deai_call_fail(at->call, status, "the caller gave up");
}

static void slot_closed(void *user) {
  slot_free(user);
}

static const deai_end_ops slot_ops = {
    .part = slot_part,
    .drain = slot_drain,
    .cancel = slot_cancel,
    .closed = slot_closed,
};

/* ---- the host table ---- */

static void host_log(deai_ctx *ctx, int32_t level, deai_str text) {
  deai_instance *instance = ctx->instance;
  deai_log_level at =
      level < 0 || level > DEAI_LEVEL_DEBUG ? DEAI_LEVEL_DEBUG : (deai_log_level)level;
  int len = text.len < DEAI_LOG_LINE_MAX ? (int)text.len : DEAI_LOG_LINE_MAX;
  deai_log(at, instance->loaded->manifest.id, "%.*s", len, text.ptr);
}

static void posted_run(void *user) {
  posted *item = user;
  deai_instance *instance = item->instance;
  atomic_fetch_sub(&instance->posts_waiting, 1);
  if (instance->state == STATE_STARTED) {
    item->call(instance->inst, item->user);
    if (instance->state == STATE_STARTED) resume_held(instance);
  }
  free(item);
  instance_unref(instance);
}

static posted *posted_new(deai_instance *instance) {
  posted *item = calloc(1, sizeof *item);
  if (item == NULL) return NULL;
  item->instance = instance;
  atomic_fetch_add(&instance->refs, 1);
  return item;
}

static int32_t host_post(deai_ctx *ctx, void (*call)(deai_inst *inst, void *user), void *user) {
  deai_instance *instance = ctx->instance;
  if (!atomic_load(&instance->accepts)) return DEAI_ENOTFOUND;
  if (atomic_fetch_add(&instance->posts_waiting, 1) >= DEAI_INSTANCE_POSTS_MAX) {
    atomic_fetch_sub(&instance->posts_waiting, 1);
    return DEAI_EAGAIN;
  }
  posted *item = posted_new(instance);
  if (item == NULL) {
    atomic_fetch_sub(&instance->posts_waiting, 1);
    return DEAI_ENOMEM;
  }
  item->call = call;
  item->user = user;
  deai_loop_task(instance->loop, posted_run, item);
  return DEAI_OK;
}

static void timer_free(timer_item *item) {
  timer_item **at = &item->instance->timers;
  while (*at != item)
    at = &(*at)->next;
  *at = item->next;
  deai_timer_free(item->timer);
  free(item);
}

static void timer_run(void *user) {
  timer_item *item = user;
  deai_instance *instance = item->instance;
  void (*call)(deai_inst * inst, void *data) = item->call;
  void *data = item->user;
  timer_free(item);
  call(instance->inst, data);
  if (instance->state == STATE_STARTED) resume_held(instance);
}

static int32_t host_after(deai_ctx *ctx, uint64_t delay_ms,
                          void (*call)(deai_inst *inst, void *user), void *user) {
  deai_instance *instance = ctx->instance;
  if (!guard(instance, "after", true)) return DEAI_EDENIED;
  timer_item *item = calloc(1, sizeof *item);
  if (item == NULL) return DEAI_ENOMEM;
  *item = (timer_item){.instance = instance, .call = call, .user = user, .next = instance->timers};
  item->timer = deai_timer_new(instance->loop, timer_run, item);
  if (item->timer == NULL) {
    free(item);
    return DEAI_ENOMEM;
  }
  instance->timers = item;
  deai_timer_set(item->timer, delay_ms);
  return DEAI_OK;
}

static void work_run(void *user) {
  posted *item = user;
  deai_instance *instance = item->instance;
  /* on the loop itself when there are no workers: then stop may have come first */
  if (atomic_load(&instance->accepts) || !deai_loop_on_thread(instance->loop))
    item->work(item->user);
  (void)pthread_mutex_lock(&instance->work_lock);
  instance->work_running--;
  (void)pthread_cond_signal(&instance->work_idle);
  (void)pthread_mutex_unlock(&instance->work_lock);
}

static int32_t host_run(deai_ctx *ctx, void (*work)(void *user),
                        void (*done)(deai_inst *inst, void *user), void *user) {
  deai_instance *instance = ctx->instance;
  if (!guard(instance, "run", true)) return DEAI_EDENIED;
  posted *item = posted_new(instance);
  if (item == NULL) return DEAI_ENOMEM;
  item->work = work;
  item->call = done;
  item->user = user;
  (void)pthread_mutex_lock(&instance->work_lock);
  instance->work_running++;
  (void)pthread_mutex_unlock(&instance->work_lock);
  atomic_fetch_add(&instance->posts_waiting, 1);
  deai_loop_work(instance->loop, work_run, posted_run, item);
  return DEAI_OK;
}

static void spec_avoid(const deai_call_options *options, uint8_t *room, deai_call_spec *spec) {
  for (uint32_t i = 0; i < options->avoid_count && i < DEAI_CALL_AVOID_MAX; i++) {
    if (options->avoid[i].len != DEAI_KEY_BYTES) continue;
    memcpy(room + spec->avoid.len, options->avoid[i].ptr, DEAI_KEY_BYTES);
    spec->avoid.len += DEAI_KEY_BYTES;
  }
  spec->avoid.ptr = room;
}

/* open_call opens a call of the plug-in and sends its first part. */
static int32_t open_call(deai_instance *instance, const deai_call_spec *spec,
                         const deai_part *first, uint64_t *ticket_out) {
  if (instance->made_count >= DEAI_TICKETS_MAX) return DEAI_EBUSY;
  slot *at = slot_new(instance, false);
  if (at == NULL) return DEAI_ENOMEM;
  at->call = instance->ops.open(instance->user, spec, &slot_ops, at);
  if (at->call == NULL) {
    slot_free(at);
    return DEAI_ENOMEM;
  }
  *ticket_out = at->ticket;
  int32_t status = deai_call_send(at->call, DEAI_SIDE_CALLER, first);
  if (status == DEAI_OK || status == DEAI_ENOTFOUND) return DEAI_OK; /* its END is on its way */
  deai_call_drop(at->call, DEAI_SIDE_CALLER, status, "");
  slot_free(at);
  return status;
}

static int32_t host_call(deai_ctx *ctx, const deai_call_options *given, const deai_part *first,
                         uint64_t *ticket_out) {
  deai_instance *instance = ctx->instance;
  uint8_t keys[DEAI_CALL_AVOID_MAX * DEAI_KEY_BYTES];
  deai_call_options options;
  if (!guard(instance, "call", true)) return DEAI_EDENIED;
  if (deai_table_take(&options, (uint32_t)sizeof options, given, (uint32_t)sizeof options) !=
      DEAI_OK)
    return DEAI_EINVAL;
  const deai_manifest *manifest = &instance->loaded->manifest;
  if (!deai_manifest_needs(manifest, options.service)) return DEAI_EDENIED;
  deai_call_spec spec = {.service = options.service,
                         .method = options.method,
                         .time_ms = options.time_ms,
                         .caller_kind = DEAI_CALLER_PLUGIN,
                         .caller_class = DEAI_CLASS_LOCAL,
                         .caller_id = deai_bytes_of(manifest->id, strlen(manifest->id)),
                         .job = options.job,
                         .units = options.units,
                         .provider = options.provider,
                         .model = options.model,
                         .price_max = options.price_max,
                         .flags = options.flags};
  spec_avoid(&options, keys, &spec);
  slot *parent = slot_find(instance, options.parent);
  if (parent != NULL && parent->served) {
    uint64_t left_ms = deai_call_time_left_ms(parent->call);
    spec.parent = parent->call;
    if (spec.time_ms > left_ms) spec.time_ms = left_ms;
  }
  return open_call(instance, &spec, first, ticket_out);
}

static int32_t send_on(deai_instance *instance, const char *function, uint64_t ticket, bool served,
                       const deai_part *given) {
  deai_part part;
  if (!guard(instance, function, true)) return DEAI_EDENIED;
  if (deai_table_take(&part, (uint32_t)sizeof part, given, (uint32_t)sizeof part) != DEAI_OK)
    return DEAI_EINVAL;
  slot *at = slot_find(instance, ticket);
  if (at == NULL) return DEAI_ENOTFOUND;
  if (at->served != served) {
    fault(instance, function, served ? "a ticket it serves" : "a ticket of its own call");
    return DEAI_EINVAL;
  }
  bool known = part.status <= 0 && part.status >= DEAI_STATUS_MIN && part.status != DEAI_EAGAIN;
  if (!known && (part.flags & DEAI_PART_END) != 0) {
    fault(instance, function, "an END with a known status");
    part.status = DEAI_EINTERNAL;
  }
  part.receipt = (deai_bytes){NULL, 0}; /* only the host signs */
  part.provider = (deai_bytes){NULL, 0};
  part.others = (deai_bytes){NULL, 0};
  int32_t status = deai_call_send(at->call, served ? DEAI_SIDE_CALLEE : DEAI_SIDE_CALLER, &part);
  if (status == DEAI_EAGAIN) at->wants_drain = true;
  return status;
}

static int32_t host_send(deai_ctx *ctx, uint64_t ticket, const deai_part *part) {
  return send_on(ctx->instance, "send", ticket, false, part);
}

static int32_t host_reply(deai_ctx *ctx, uint64_t ticket, const deai_part *part) {
  return send_on(ctx->instance, "reply", ticket, true, part);
}

static void host_cancel(deai_ctx *ctx, uint64_t ticket) {
  deai_instance *instance = ctx->instance;
  if (!guard(instance, "cancel", true)) return;
  slot *at = slot_find(instance, ticket);
  if (at != NULL && !at->served) deai_call_cancel(at->call, DEAI_ECANCELLED);
}

static deai_call_spec own_spec(deai_instance *instance, const char *service, const char *method) {
  const deai_manifest *manifest = &instance->loaded->manifest;
  return (deai_call_spec){.service = deai_str_of(service),
                          .method = deai_str_of(method),
                          .time_ms = 30000,
                          .caller_kind = DEAI_CALLER_PLUGIN,
                          .caller_class = DEAI_CLASS_LOCAL,
                          .caller_id = deai_bytes_of(manifest->id, strlen(manifest->id))};
}

static int32_t host_submit(deai_ctx *ctx, deai_bytes ops, uint64_t *ticket_out) {
  char err[DEAI_ERR_CAP] = "";
  deai_instance *instance = ctx->instance;
  if (!guard(instance, "submit", true)) return DEAI_EDENIED;
  int32_t status = deai_manifest_may_submit(&instance->loaded->manifest, ops, err, sizeof err);
  if (status != DEAI_OK) {
    deai_log(DEAI_LEVEL_ERROR, instance->loaded->manifest.id, "submit: %s", err);
    return status;
  }
  deai_call_spec spec = own_spec(instance, DEAI_HOST_SERVICE, "submit");
  deai_part first = {
      .size = (uint32_t)sizeof first, .flags = DEAI_PART_END, .attachment = -1, .body = ops};
  return open_call(instance, &spec, &first, ticket_out);
}

static int32_t host_query(deai_ctx *ctx, deai_bytes query, uint64_t *ticket_out) {
  deai_instance *instance = ctx->instance;
  if (!guard(instance, "query", true)) return DEAI_EDENIED;
  deai_call_spec spec = own_spec(instance, DEAI_LEDGER_SERVICE, "query");
  deai_part first = {
      .size = (uint32_t)sizeof first, .flags = DEAI_PART_END, .attachment = -1, .args = query};
  return open_call(instance, &spec, &first, ticket_out);
}

static int32_t host_buffer(deai_ctx *ctx, uint64_t len, deai_buffer **buffer_out) {
  (void)ctx;
  if (len > DEAI_BODY_MAX) return DEAI_ETOOLARGE;
  *buffer_out = deai_buffer_new(len);
  return *buffer_out == NULL ? DEAI_ENOMEM : DEAI_OK;
}

static void host_buffer_keep(deai_ctx *ctx, deai_buffer *buffer) {
  (void)ctx;
  (void)deai_buffer_keep(buffer);
}

static void host_buffer_drop(deai_ctx *ctx, deai_buffer *buffer) {
  (void)ctx;
  deai_buffer_drop(buffer);
}

static int32_t host_describe(deai_ctx *ctx, deai_str service, deai_bytes offer) {
  deai_instance *instance = ctx->instance;
  if (!guard(instance, "describe", true)) return DEAI_EDENIED;
  bool offered = false;
  for (uint32_t i = 0; i < instance->loaded->manifest.offer_count; i++)
    offered =
        offered || deai_str_eq(deai_str_of(instance->loaded->manifest.offers[i].id), service) != 0;
  if (!offered || deai_cbor_check(offer, 0, NULL) != DEAI_OK) return DEAI_EINVAL;
  if (instance->ops.describe != NULL)
    instance->ops.describe(instance->user, instance->loaded->manifest.id, service, offer);
  return DEAI_OK;
}

static void host_count(deai_ctx *ctx, const char *name, uint64_t value) {
  deai_instance *instance = ctx->instance;
  if (instance->ops.count != NULL)
    instance->ops.count(instance->user, instance->loaded->manifest.id, name, value);
}

static deai_str host_folder(deai_ctx *ctx) {
  return deai_str_of(ctx->instance->folder);
}

static const void *host_interface(deai_ctx *ctx, const char *id) {
  (void)ctx, (void)id;
  return NULL;
}

static const deai_host host_table = {
    .size = (uint32_t)sizeof(deai_host),
    .log = host_log,
    .post = host_post,
    .after = host_after,
    .run = host_run,
    .call = host_call,
    .send = host_send,
    .reply = host_reply,
    .cancel = host_cancel,
    .submit = host_submit,
    .query = host_query,
    .buffer = host_buffer,
    .buffer_keep = host_buffer_keep,
    .buffer_drop = host_buffer_drop,
    .describe = host_describe,
    .count = host_count,
    .folder = host_folder,
    .get_interface = host_interface,
};

/* ---- life ---- */

deai_instance *deai_instance_new(const deai_instance_options *options, char *err,
                                 uint32_t err_cap) {
  char reason[DEAI_ERR_CAP] = "";
  deai_instance *instance = calloc(1, sizeof *instance);
  if (instance == NULL) return NULL;
  instance->ctx.instance = instance;
  instance->loop = options->loop;
  instance->loaded = options->loaded;
  instance->ops = *options->ops;
  instance->user = options->user;
  instance->folder = strdup(options->folder);
  atomic_init(&instance->refs, 1);
  (void)pthread_mutex_init(&instance->work_lock, NULL);
  (void)pthread_cond_init(&instance->work_idle, NULL);
  int32_t status = instance->folder == NULL ? DEAI_ENOMEM : DEAI_OK;
  if (status == DEAI_OK)
    status = instance->loaded->plugin.create(&host_table, &instance->ctx, options->settings,
                                             &instance->inst, reason, (uint32_t)sizeof reason);
  if (status == DEAI_OK && instance->inst != NULL) {
    instance->state = STATE_CREATED;
    return instance;
  }
  (void)deai_err(err, err_cap, status, "%s: not created: %s", instance->loaded->manifest.id,
                 reason[0] != 0 ? reason : deai_status_text(status));
  instance_unref(instance);
  return NULL;
}

int32_t deai_instance_start(deai_instance *instance, char *err, uint32_t err_cap) {
  char reason[DEAI_ERR_CAP] = "";
  DEAI_ASSERT(instance->state == STATE_CREATED);
  instance->state = STATE_STARTED;
  atomic_store(&instance->accepts, true);
  int32_t status = instance->loaded->plugin.start(instance->inst, reason, (uint32_t)sizeof reason);
  if (status == DEAI_OK) return DEAI_OK;
  atomic_store(&instance->accepts, false);
  instance->state = STATE_STOPPED;
  return deai_err(err, err_cap, status, "%s: not started: %s", instance->loaded->manifest.id,
                  reason[0] != 0 ? reason : deai_status_text(status));
}

int32_t deai_instance_serve(deai_instance *instance, deai_call *call) {
  if (instance->state != STATE_STARTED) return DEAI_EPLUGIN_DIED;
  if (instance->served_count >= DEAI_INSTANCE_SERVED_MAX) return DEAI_EBUSY;
  slot *at = slot_new(instance, true);
  if (at == NULL) return DEAI_ENOMEM;
  at->call = call;
  deai_call_attach(call, &slot_ops, at);
  return DEAI_OK;
}

void deai_instance_update(deai_instance *instance, deai_str topic, deai_bytes value) {
  const deai_manifest_list *topics = &instance->loaded->manifest.topics;
  if (instance->state != STATE_STARTED || instance->loaded->plugin.on_update == NULL) return;
  for (uint32_t i = 0; i < topics->count; i++) {
    if (!deai_str_eq(deai_str_of(topics->items[i]), topic)) continue;
    instance->loaded->plugin.on_update(instance->inst, topic, value);
    return;
  }
}

static void stop_slots(deai_instance *instance) {
  for (uint32_t i = 0; i < SLOT_BUCKETS; i++) {
    while (instance->slots[i] != NULL) {
      slot *at = instance->slots[i];
      deai_call *call = at->call;
      deai_side side = at->served ? DEAI_SIDE_CALLEE : DEAI_SIDE_CALLER;
      slot_free(at);
      deai_call_drop(call, side, DEAI_EPLUGIN_DIED, "the plug-in was stopped");
    }
  }
}

void deai_instance_stop(deai_instance *instance) {
  if (instance->state != STATE_STARTED) return;
  atomic_store(&instance->accepts, false);
  (void)pthread_mutex_lock(&instance->work_lock);
  while (instance->work_running > 0 && deai_loop_workers(instance->loop) > 0)
    (void)pthread_cond_wait(&instance->work_idle, &instance->work_lock);
  (void)pthread_mutex_unlock(&instance->work_lock);
  instance->loaded->plugin.stop(instance->inst);
  instance->state = STATE_STOPPED;
  stop_slots(instance);
  while (instance->timers != NULL)
    timer_free(instance->timers);
}

void deai_instance_free(deai_instance *instance) {
  if (instance == NULL) return;
  deai_instance_stop(instance);
  if (instance->inst != NULL) instance->loaded->plugin.destroy(instance->inst);
  instance->inst = NULL;
  instance_unref(instance);
}

uint32_t deai_instance_open_calls(const deai_instance *instance) {
  return instance->served_count;
}

uint64_t deai_instance_faults(const deai_instance *instance) {
  return atomic_load(&instance->faults);
}
