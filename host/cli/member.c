#include "cli.h"

#include "deai/contracts/net.h"
#include "host/base/base32.h"
#include "host/base/file.h"
#include "host/base/keys.h"
#include "host/ledger/genesis.h"
#include "host/ledger/ledger.h"
#include "host/ledger/tx.h"
#include "host/net/invite.h"
#include "host/net/net.h"
#include "host/net/record.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/base/banned.h"

#define NODE_SERVICE   "deai.node/1-draft"
#define JOIN_MS        20000u
#define GENESIS_MAX    1048576u
#define NODE_CAP_A_DAY (UINT64_C(1000) * DEAI_COIN)

static const char invite_help[] =
    "deai invite [--for 10m] [--role member|guest] [--grant COINS]\n"
    "  prints a one-time code; the new node runs: deai --data DIR join CODE --name NAME\n";
static const char join_help[] =
    "deai join CODE [--name NAME] [--http HOST:PORT] [--peers HOST:PORT] [--plugin-dir DIR]\n"
    "  makes a data folder that belongs to the inviter's network; then: deai up -d\n";
static const char member_help[] = "deai member list | rm NAME\n";
static const char wallet_help[] = "deai wallet send ACCOUNT COINS\n";

/* ---- invite ---- */

static json_t *ask_node(const cli *line, const char *method, json_t *asked, int *code_out) {
  char *text = json_dumps(asked, JSON_COMPACT);
  json_decref(asked);
  json_t *answer = text != NULL ? cli_json_body(line, NODE_SERVICE, method, text, code_out) : NULL;
  free(text);
  return answer;
}

int cli_invite(cli *line) {
  int code = 0;
  uint64_t for_ms = 600000;
  uint64_t grant = 0;
  const char *time = cli_option(line, "--for");
  const char *role = cli_option(line, "--role");
  const char *coins = cli_option(line, "--grant");
  if (line->count > 0) return cli_usage(invite_help);
  if (time != NULL && cli_unit(time, "duration", &for_ms) != 0) return cli_usage(invite_help);
  if (coins != NULL && cli_unit(coins, "coins", &grant) != 0) return cli_usage(invite_help);
  json_t *answer = ask_node(line, "invite",
                            json_pack("{s:I, s:s, s:I}", "for_ms", (json_int_t)for_ms, "role",
                                      role != NULL ? role : "member", "grant", (json_int_t)grant),
                            &code);
  if (answer == NULL) return code;
  (void)printf("%s\n", json_string_value(json_object_get(answer, "code")));
  json_decref(answer);
  return 0;
}

/* ---- join ---- */

typedef struct joining {
  deai_loop *loop;
  deai_net *net;
  deai_timer *limit;
  deai_call *call;
  const deai_invite *invite;
  deai_key *node;
  deai_key *wallet;
  const char *name;
  uint8_t *genesis;
  uint64_t genesis_len;
  int32_t status;
  char why[DEAI_ERR_CAP];
  uint64_t height;
  char *peers; /* lines of the file DATA/peers */
  bool reached;
} joining;

static void step(const char *name, const char *text) {
  (void)fprintf(stderr, "%-9s %s\n", name, text);
}

static deai_call *no_calls(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                           void *end_user) {
  joining *job = user;
  deai_call *call = deai_call_new(job->loop, spec, ops, end_user);
  if (call != NULL) deai_call_fail(call, DEAI_EDENIED, "this node is joining");
  return call;
}

static uint32_t all_public(void *user, const uint8_t key[DEAI_KEY_BYTES]) {
  (void)user, (void)key;
  return DEAI_CLASS_PUBLIC;
}

static uint64_t no_height(void *user) {
  (void)user;
  return 0;
}

static void no_offers(void *user, void (*each)(void *each_user, deai_str service, deai_bytes args),
                      void *each_user) {
  (void)user, (void)each, (void)each_user;
}

static void peers_add(joining *job, const uint8_t *key, deai_str address) {
  char line[DEAI_NET_ADDR_MAX + 80];
  int len = 0;
  for (int i = 0; i < DEAI_KEY_BYTES; i++)
    len += snprintf(line + len, sizeof line - (size_t)len, "%02x", key[i]);
  len += snprintf(line + len, sizeof line - (size_t)len, " %.*s\n", (int)address.len, address.ptr);
  size_t before = job->peers != NULL ? strlen(job->peers) : 0;
  char *more = realloc(job->peers, before + (size_t)len + 1);
  if (more == NULL) return;
  memcpy(more + before, line, (size_t)len + 1);
  job->peers = more;
}

static void take_peers(joining *job, const deai_net_join_end *end) {
  const deai_signed *records = end->peers.items;
  for (uint64_t i = 0; i < end->peers.count; i++) {
    _Alignas(16) uint8_t room[8192];
    deai_arena arena = {room, sizeof room, 0};
    deai_node_record record;
    if (deai_decode(&deai_node_record_table, records[i].body, &record, &arena, NULL, 0) != DEAI_OK)
      continue;
    const deai_str *addresses = record.addrs.items;
    if (record.addrs.count > 0) peers_add(job, record.k, addresses[0]);
  }
}

static int32_t join_part(void *user, const deai_part *part) {
  joining *job = user;
  if (part->body.len > 0 && job->genesis_len + part->body.len <= GENESIS_MAX) {
    memcpy(job->genesis + job->genesis_len, part->body.ptr, (size_t)part->body.len);
    job->genesis_len += part->body.len;
  }
  if ((part->flags & DEAI_PART_END) == 0) return DEAI_OK;
  job->status = part->status;
  (void)snprintf(job->why, sizeof job->why, "%.*s", (int)part->why.len, part->why.ptr);
  uint8_t *room = aligned_alloc(16, 65536);
  deai_arena arena = {room, 65536, 0};
  deai_net_join_end end;
  if (job->status == DEAI_OK && room != NULL &&
      deai_decode(&deai_net_join_end_table, part->args, &end, &arena, job->why, sizeof job->why) ==
          DEAI_OK) {
    job->height = end.h;
    take_peers(job, &end);
  } else if (job->status == DEAI_OK) {
    job->status = DEAI_EINVAL;
  }
  free(room);
  return DEAI_OK;
}

static void join_closed(void *user) {
  joining *job = user;
  job->call = NULL;
  deai_loop_stop(job->loop);
}

static const deai_end_ops join_end_ops = {.part = join_part, .closed = join_closed};

static int32_t join_args(joining *job, deai_buf out, uint64_t *len_out) {
  uint8_t record_room[DEAI_RECORD_MAX];
  uint64_t record_len = 0;
  deai_str channel[] = {deai_str_of("channel/1"),
                        deai_str_of("registry/1 put"),
                        deai_str_of("registry/1 rm"),
                        deai_str_of("account/1 create"),
                        deai_str_of("registry/1 member_add"),
                        deai_str_of("account/1 transfer")};
  deai_str owner[] = {deai_str_of("*")};
  deai_account_key keys[2] = {{.may = {owner, 1}},
                              {.has = DEAI_ACCOUNT_KEY_HAS_CAP,
                               .cap = NODE_CAP_A_DAY,
                               .may = {channel, sizeof channel / sizeof channel[0]}}};
  memcpy(keys[0].k, deai_key_public(job->wallet), DEAI_KEY_BYTES);
  memcpy(keys[1].k, deai_key_public(job->node), DEAI_KEY_BYTES);
  deai_node_record record = {.seq = 1, .ttl = 60000};
  memcpy(record.k, deai_key_public(job->node), DEAI_KEY_BYTES);
  int32_t status = deai_record_make(&record, job->node, job->invite->g,
                                    (deai_buf){record_room, sizeof record_room}, &record_len);
  deai_net_join join = {.keys = {keys, 2}, .name = deai_str_of(job->name)};
  memcpy(join.code, job->invite->s, DEAI_ID_BYTES);
  if (status == DEAI_OK)
    status = deai_decode(&deai_signed_table, deai_bytes_of(record_room, record_len), &join.record,
                         NULL, NULL, 0);
  deai_cbor_writer writer = deai_cbor_writer_of(out);
  if (status == DEAI_OK)
    status = deai_encode(&deai_net_join_table, &join, &writer, job->why, sizeof job->why);
  *len_out = writer.len;
  return status;
}

static void on_connected(void *user, const uint8_t key[DEAI_KEY_BYTES], bool up) {
  joining *job = user;
  uint8_t room[16384];
  uint64_t len = 0;
  if (!up || job->reached) return;
  job->reached = true;
  step("reach", "ok");
  step("key", "ok: the key of the invitation");
  step("version", "ok");
  int32_t status = join_args(job, (deai_buf){room, sizeof room}, &len);
  deai_call_spec spec = {.service = deai_str_of(DEAI_NET_SERVICE),
                         .method = deai_str_of("join"),
                         .time_ms = JOIN_MS,
                         .caller_class = DEAI_CLASS_LOCAL};
  if (status == DEAI_OK) job->call = deai_call_new(job->loop, &spec, &join_end_ops, job);
  if (status == DEAI_OK && job->call != NULL) status = deai_net_serve(job->net, key, job->call);
  if (job->call == NULL || status != DEAI_OK) {
    job->status = status == DEAI_OK ? DEAI_ENOMEM : status;
    deai_loop_stop(job->loop);
    return;
  }
  deai_part part = {.size = (uint32_t)sizeof part,
                    .flags = DEAI_PART_END,
                    .attachment = -1,
                    .args = deai_bytes_of(room, len)};
  if (deai_call_send(job->call, DEAI_SIDE_CALLER, &part) != DEAI_OK)
    deai_call_cancel(job->call, DEAI_EINTERNAL);
}

static const deai_net_ops join_net_ops = {.open = no_calls,
                                          .role = all_public,
                                          .height = no_height,
                                          .offers = no_offers,
                                          .connected = on_connected};

static void on_limit(void *user) {
  joining *job = user;
  job->status = DEAI_ETIMEDOUT;
  (void)snprintf(job->why, sizeof job->why, "no answer in 20 s: %s", deai_net_why(job->net));
  deai_loop_stop(job->loop);
}

static int32_t join_talk(joining *job) {
  const deai_str *addresses = job->invite->a.items;
  deai_net_options options = {
      .loop = job->loop, .key = job->node, .ops = &join_net_ops, .user = job};
  job->net = deai_net_new(&options, job->why, sizeof job->why);
  job->limit = deai_timer_new(job->loop, on_limit, job);
  if (job->net == NULL || job->limit == NULL) return DEAI_EIO;
  for (uint64_t i = 0; i < job->invite->a.count; i++) {
    int32_t status = deai_net_know(job->net, job->invite->k, addresses[i]);
    if (status != DEAI_OK) return status;
  }
  deai_timer_set(job->limit, JOIN_MS);
  job->status = DEAI_EPEER_LOST;
  deai_loop_run(job->loop);
  return job->status;
}

static int32_t join_store(joining *job, const char *data) {
  char path[4000];
  uint8_t hash[DEAI_HASH_BYTES];
  deai_ledger *ledger = NULL;
  deai_genesis_box *box = NULL;
  deai_bytes genesis = deai_bytes_of(job->genesis, job->genesis_len);
  int32_t status = deai_genesis_open(genesis, &box, job->why, sizeof job->why);
  if (status != DEAI_OK) return status;
  memcpy(hash, box->hash, sizeof hash);
  deai_genesis_free(box);
  if (memcmp(hash, job->invite->g, sizeof hash) != 0)
    return deai_err(
        job->why, sizeof job->why, DEAI_EVERIFY,
        "expected the genesis of the invitation, found another; do not trust this node");
  (void)snprintf(path, sizeof path, "%s/ledger", data);
  deai_ledger_options options = {.folder = path, .genesis = genesis, .engine = DEAI_ENGINE_FOLLOW};
  status = deai_ledger_open(&options, &ledger, job->why, sizeof job->why);
  deai_ledger_close(ledger);
  if (status != DEAI_OK) return status;
  const deai_str *addresses = job->invite->a.items;
  peers_add(job, job->invite->k, addresses[0]);
  (void)snprintf(path, sizeof path, "%s/peers", data);
  return deai_file_replace(path, deai_bytes_of(job->peers, strlen(job->peers)), 0600, job->why,
                           sizeof job->why);
}

static int32_t join_keys(joining *job, const char *data) {
  int32_t status = deai_sign_start(job->why, sizeof job->why);
  if (status == DEAI_OK) status = deai_folder_make(data, 0700, job->why, sizeof job->why);
  job->node = deai_key_make();
  job->wallet = deai_key_make();
  job->genesis = malloc(GENESIS_MAX);
  job->loop = deai_loop_new(deai_platform_system(), 0);
  if (job->node == NULL || job->wallet == NULL || job->genesis == NULL || job->loop == NULL)
    return DEAI_ENOMEM;
  if (status == DEAI_OK) status = deai_key_save(job->node, data, "node", job->why, sizeof job->why);
  if (status == DEAI_OK)
    status = deai_key_save(job->wallet, data, "wallet", job->why, sizeof job->why);
  return status;
}

static void join_free(joining *job) {
  deai_net_free(job->net);
  deai_timer_free(job->limit);
  if (job->loop != NULL) deai_loop_drain(job->loop);
  deai_loop_free(job->loop);
  deai_key_free(job->node);
  deai_key_free(job->wallet);
  free(job->genesis);
  free(job->peers);
}

int cli_join(cli *line) {
  static deai_invite_box box;
  char path[4000];
  char text[64];
  joining job = {.invite = &box.invite};
  job.name = cli_option(line, "--name");
  if (job.name == NULL) job.name = "node";
  if (line->count < 1) return cli_usage(join_help);
  if (deai_invite_get(deai_str_of(line->words[0]), &box, job.why, sizeof job.why) != DEAI_OK)
    return cli_fail(DEAI_EINVAL, job.why);
  line->words++;
  line->count--;
  (void)snprintf(path, sizeof path, "%s/keys", line->data);
  if (access(path, F_OK) == 0)
    return cli_fail(DEAI_EINVAL, "expected no data folder yet, found one; choose another --data");
  int32_t status = join_keys(&job, line->data);
  if (status == DEAI_OK) status = join_talk(&job);
  if (status != DEAI_OK) step(job.reached ? "registry" : "reach", job.why);
  if (status == DEAI_OK) {
    (void)snprintf(text, sizeof text, "ok: member since block %" PRIu64, job.height);
    step("registry", text);
    status = join_store(&job, line->data);
    step("follow", status == DEAI_OK ? "ok: starts with deai up" : job.why);
  }
  join_free(&job);
  int code = status == DEAI_OK ? cli_write_config(line, job.name) : cli_fail(status, job.why);
  if (code == 0 && !line->quiet) (void)printf("joined; next: deai --data %s up -d\n", line->data);
  return code;
}

/* ---- wallet and members ---- */

typedef struct signing {
  deai_key *wallet;
  uint8_t account[DEAI_ACCT_BYTES];
  uint8_t genesis[DEAI_HASH_BYTES];
  uint64_t nonce;
  uint64_t balance;
} signing;

static bool base32_of(const json_t *object, const char *key, uint8_t *out, uint64_t cap) {
  uint64_t len = 0;
  const char *text = json_string_value(json_object_get(object, key));
  return text != NULL &&
         deai_base32_get(deai_str_of(text), (deai_buf){out, cap}, &len) == DEAI_OK && len == cap;
}

static int signing_open(const cli *line, signing *out) {
  char err[DEAI_ERR_CAP] = "";
  char key[128];
  int code = 0;
  memset(out, 0, sizeof *out);
  int32_t status = deai_sign_start(err, sizeof err);
  if (status == DEAI_OK)
    status = deai_key_load(line->data, "wallet", &out->wallet, err, sizeof err);
  if (status != DEAI_OK) return cli_fail(status, err);
  if (deai_base32_put(deai_bytes_of(deai_key_public(out->wallet), DEAI_KEY_BYTES), key,
                      sizeof key) != DEAI_OK)
    return 1;
  json_t *answer = ask_node(line, "account", json_pack("{s:s}", "key", key), &code);
  if (answer == NULL) return code;
  bool whole = base32_of(answer, "account", out->account, DEAI_ACCT_BYTES) &&
               base32_of(answer, "genesis", out->genesis, DEAI_HASH_BYTES);
  out->nonce = (uint64_t)json_integer_value(json_object_get(answer, "nonce"));
  out->balance = (uint64_t)json_integer_value(json_object_get(answer, "balance"));
  json_decref(answer);
  return whole ? 0 : cli_fail(DEAI_EINTERNAL, "malformed answer");
}

static int sign_and_submit(const cli *line, const signing *with, const char *module,
                           const char *type, const deai_table *table, const void *body) {
  char err[DEAI_ERR_CAP] = "";
  int code = 1;
  uint64_t len = 0;
  deai_tx_builder *builder = malloc(sizeof *builder);
  uint8_t *bytes = malloc(DEAI_TX_MAX);
  char *text = malloc(2 * DEAI_TX_MAX);
  if (builder != NULL && bytes != NULL && text != NULL) {
    deai_tx_start(builder, with->account, with->nonce, 0, 0);
    deai_tx_op(builder, module, type, table, body);
    int32_t status = deai_tx_sign(builder, with->genesis, with->wallet,
                                  (deai_buf){bytes, DEAI_TX_MAX}, &len, err, sizeof err);
    if (status == DEAI_OK)
      status = deai_base32_put(deai_bytes_of(bytes, len), text, 2 * DEAI_TX_MAX);
    if (status != DEAI_OK)
      code = cli_fail(status, err);
    else {
      json_t *answer = ask_node(line, "submit", json_pack("{s:s}", "tx", text), &code);
      if (answer != NULL && !line->quiet)
        (void)printf("block %lld\n",
                     (long long)json_integer_value(json_object_get(answer, "height")));
      if (answer != NULL) code = 0;
      json_decref(answer);
    }
  }
  free(builder);
  free(bytes);
  free(text);
  return code;
}

int cli_sign_submit(const cli *line, const char *module, const char *type, const deai_table *table,
                    const void *body) {
  signing with;
  int code = signing_open(line, &with);
  if (code == 0) code = sign_and_submit(line, &with, module, type, table, body);
  deai_key_free(with.wallet);
  return code;
}

int cli_wallet_send(cli *line) {
  uint64_t len = 0;
  signing with;
  deai_op_transfer transfer = {0};
  if (deai_base32_get(deai_str_of(line->words[1]), (deai_buf){transfer.to, DEAI_ACCT_BYTES},
                      &len) != DEAI_OK ||
      len != DEAI_ACCT_BYTES || cli_unit(line->words[2], "coins", &transfer.amount) != 0)
    return cli_usage(wallet_help);
  int code = signing_open(line, &with);
  if (code == 0)
    code =
        sign_and_submit(line, &with, "account/1", "transfer", &deai_op_transfer_table, &transfer);
  deai_key_free(with.wallet);
  return code;
}

static void print_members(const json_t *list) {
  for (size_t i = 0; i < json_array_size(list); i++) {
    const json_t *row = json_array_get(list, i);
    (void)printf("%-20s %-7s %s\n", json_string_value(json_object_get(row, "name")),
                 json_string_value(json_object_get(row, "role")),
                 json_string_value(json_object_get(row, "key")));
  }
}

static int member_rm(cli *line, const json_t *list) {
  for (size_t i = 0; i < json_array_size(list); i++) {
    deai_op_member_rm body;
    signing with;
    const json_t *row = json_array_get(list, i);
    if (strcmp(json_string_value(json_object_get(row, "name")), line->words[1]) != 0) continue;
    if (!base32_of(row, "key", body.node, DEAI_KEY_BYTES)) return 1;
    int code = signing_open(line, &with);
    if (code == 0)
      code =
          sign_and_submit(line, &with, "registry/1", "member_rm", &deai_op_member_rm_table, &body);
    deai_key_free(with.wallet);
    return code;
  }
  return cli_fail(DEAI_ENOTFOUND, "expected the name of a member; see deai member list");
}

int cli_member(cli *line) {
  int code = 0;
  bool rm = line->count == 2 && strcmp(line->words[0], "rm") == 0;
  if (!rm && !(line->count == 1 && strcmp(line->words[0], "list") == 0))
    return cli_usage(member_help);
  json_t *list = ask_node(line, "members", json_object(), &code);
  if (list == NULL) return code;
  if (rm) {
    code = member_rm(line, list);
  } else if (line->json) {
    (void)json_dumpf(list, stdout, JSON_INDENT(2));
    (void)putchar('\n');
  } else {
    print_members(list);
  }
  json_decref(list);
  return code;
}
