#include "scores.h"

#include "deai/contracts/rank.h"
#include "deai/contracts/wire.h"
#include "host/base/log.h"
#include "host/peers.h"

#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define ASK_MS    5000u
#define ARGS_ROOM 8192u

typedef struct score_row {
  char service[DEAI_NAME_MAX + 1];
  uint8_t node[DEAI_KEY_BYTES];
  uint64_t score;
  uint64_t heard; /* number of the answer */
} score_row;

struct deai_scores {
  deai_open_fn *open;
  void *user;
  deai_call *call; /* the question on its way */
  char service[DEAI_NAME_MAX + 1];
  uint64_t answers;
  uint32_t count;
  score_row rows[DEAI_SCORES_MAX];
};

deai_scores *deai_scores_new(deai_open_fn *open, void *user) {
  deai_scores *scores = calloc(1, sizeof *scores);
  if (scores == NULL) return NULL;
  scores->open = open;
  scores->user = user;
  return scores;
}

void deai_scores_free(deai_scores *scores) {
  if (scores == NULL) return;
  if (scores->call != NULL)
    deai_call_drop(scores->call, DEAI_SIDE_CALLER, DEAI_ECANCELLED, "the node stops");
  free(scores);
}

static const score_row *find(const deai_scores *scores, deai_str service, const uint8_t *node) {
  for (uint32_t i = 0; i < scores->count; i++) {
    const score_row *row = &scores->rows[i];
    if (memcmp(row->node, node, DEAI_KEY_BYTES) == 0 &&
        deai_str_eq(deai_str_of(row->service), service))
      return row;
  }
  return NULL;
}

uint64_t deai_scores_of(const deai_scores *scores, deai_str service,
                        const uint8_t node[DEAI_KEY_BYTES]) {
  const score_row *row = find(scores, service, node);
  return row != NULL ? row->score : DEAI_SCORES_UNSEEN;
}

/* ---- asking ---- */

static void keep(deai_scores *scores, const deai_rank_row *given) {
  const score_row *known = find(scores, deai_str_of(scores->service), given->node);
  uint32_t at = known != NULL ? (uint32_t)(known - scores->rows) : scores->count;
  if (at == DEAI_SCORES_MAX) {
    at = 0;
    for (uint32_t i = 1; i < scores->count; i++)
      if (scores->rows[i].heard < scores->rows[at].heard) at = i;
  } else if (known == NULL) {
    scores->count++;
  }
  score_row *row = &scores->rows[at];
  *row = (score_row){.score = given->score, .heard = scores->answers};
  (void)snprintf(row->service, sizeof row->service, "%s", scores->service);
  memcpy(row->node, given->node, DEAI_KEY_BYTES);
}

static int32_t on_part(void *user, const deai_part *part) {
  _Alignas(16) uint8_t room[DEAI_PEERS_MAX * sizeof(deai_rank_row)];
  char err[DEAI_ERR_CAP] = "";
  deai_arena arena = {room, sizeof room, 0};
  deai_scores *scores = user;
  deai_rank_scores answer;
  if ((part->flags & DEAI_PART_END) == 0 || part->status != DEAI_OK) return DEAI_OK;
  if (deai_decode(&deai_rank_scores_table, part->args, &answer, &arena, err, sizeof err) !=
      DEAI_OK) {
    deai_log(DEAI_LEVEL_WARN, "router", "scores were refused: %s", err);
    return DEAI_OK;
  }
  const deai_rank_row *rows = answer.scores.items;
  scores->answers++;
  for (uint64_t i = 0; i < answer.scores.count; i++)
    keep(scores, &rows[i]);
  return DEAI_OK;
}

static void on_closed(void *user) {
  deai_scores *scores = user;
  scores->call = NULL;
}

static const deai_end_ops ask_ops = {.part = on_part, .closed = on_closed};

void deai_scores_ask(deai_scores *scores, deai_str service, const uint8_t (*nodes)[DEAI_KEY_BYTES],
                     uint32_t count) {
  uint8_t room[ARGS_ROOM];
  deai_rank_key keys[DEAI_PEERS_MAX];
  if (scores->call != NULL || count == 0 || service.len > DEAI_NAME_MAX) return;
  if (count > DEAI_PEERS_MAX) count = DEAI_PEERS_MAX;
  for (uint32_t i = 0; i < count; i++)
    memcpy(keys[i].key, nodes[i], DEAI_KEY_BYTES);
  deai_rank_score asked = {.nodes = {keys, count}, .service = service};
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, sizeof room});
  if (deai_encode(&deai_rank_score_table, &asked, &writer, NULL, 0) != DEAI_OK) return;
  (void)snprintf(scores->service, sizeof scores->service, "%.*s", (int)service.len, service.ptr);
  deai_call_spec spec = {.service = deai_str_of(DEAI_RANK_SERVICE),
                         .method = deai_str_of("score"),
                         .time_ms = ASK_MS,
                         .caller_kind = DEAI_CALLER_PLUGIN,
                         .caller_class = DEAI_CLASS_LOCAL,
                         .caller_id = deai_bytes_of("router", 6),
                         .flags = DEAI_CALL_HERE};
  deai_part part = {.size = (uint32_t)sizeof part,
                    .flags = DEAI_PART_END,
                    .attachment = -1,
                    .args = deai_bytes_of(room, writer.len)};
  scores->call = scores->open(scores->user, &spec, &ask_ops, scores);
  if (scores->call == NULL) return;
  int32_t status = deai_call_send(scores->call, DEAI_SIDE_CALLER, &part);
  if (status != DEAI_OK && status != DEAI_ENOTFOUND) deai_call_cancel(scores->call, status);
}
