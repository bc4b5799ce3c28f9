#include "score.h"

#include "deai/plugin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define UNSEEN_SUCCESS 750000u
#define LIE_DIVISOR    16u
#define FIRST_MS_MAX   UINT64_C(86400000) /* a day */
#define ENCODED_MAX    (RANK_ROWS_MAX * 256u + 64u)

/* ---- encoding ---- */

typedef struct rank_file {
  uint64_t v;
  deai_list rows; /* rank_row */
  uint64_t clock;
} rank_file;

static const deai_field row_rows[] = {
    DEAI_F_UINT(rank_row, ok, "ok", 0, UINT64_MAX),
    DEAI_F_FIXED(rank_row, node, "node", DEAI_KEY_BYTES),
    DEAI_F_UINT(rank_row, paid, "paid", 0, UINT64_MAX),
    DEAI_F_UINT(rank_row, seen, "seen", 0, UINT64_MAX),
    DEAI_F_UINT(rank_row, calls, "calls", 0, UINT64_MAX),
    DEAI_F_UINT(rank_row, equal, "equal", 0, UINT64_MAX),
    DEAI_F_UINT(rank_row, units, "units", 0, UINT64_MAX),
    DEAI_F_UINT(rank_row, honesty, "honesty", 0, RANK_MICRO),
    DEAI_F_TEXT(rank_row, service, "service", 1, DEAI_NAME_MAX),
    DEAI_F_UINT(rank_row, success, "success", 0, RANK_MICRO),
    DEAI_F_UINT(rank_row, unequal, "unequal", 0, UINT64_MAX),
    DEAI_F_UINT(rank_row, first_ms, "first_ms", 0, FIRST_MS_MAX * 1000),
};
static const deai_table row_table = DEAI_TABLE_SIGNED("rank-file.row", rank_row, row_rows);

static const deai_field file_rows[] = {
    DEAI_F_UINT(rank_file, v, "v", 1, 1),
    DEAI_F_LIST_OF(rank_file, rows, "rows", 0, RANK_ROWS_MAX, &row_table),
    DEAI_F_UINT(rank_file, clock, "clock", 0, UINT64_MAX),
};
static const deai_table file_table = DEAI_TABLE_SIGNED("rank-file", rank_file, file_rows);

int32_t rank_encode(const rank_table *table, uint8_t **ptr_out, uint64_t *len_out) {
  char err[DEAI_ERR_CAP] = "";
  rank_file file = {.v = 1, .rows = {table->rows, table->count}, .clock = table->clock};
  uint8_t *room = malloc(ENCODED_MAX);
  if (room == NULL) return DEAI_ENOMEM;
  deai_cbor_writer writer = deai_cbor_writer_of((deai_buf){room, ENCODED_MAX});
  int32_t status = deai_encode(&file_table, &file, &writer, err, sizeof err);
  if (status != DEAI_OK) {
    free(room);
    return status;
  }
  *ptr_out = room;
  *len_out = writer.len;
  return DEAI_OK;
}

static void keep_service(rank_row *row, deai_str service) {
  uint64_t len = service.len < DEAI_NAME_MAX ? service.len : DEAI_NAME_MAX;
  memcpy(row->service_text, service.ptr, (size_t)len);
  row->service = (deai_str){row->service_text, len};
}

int32_t rank_decode(rank_table *table, deai_bytes bytes, char *err, uint32_t err_cap) {
  rank_file file;
  uint64_t cap = RANK_ROWS_MAX * sizeof(rank_row) + 64;
  uint8_t *room = aligned_alloc(16, (size_t)(cap + 15) / 16 * 16);
  if (room == NULL) return deai_err(err, err_cap, DEAI_ENOMEM, "not enough memory");
  deai_arena arena = {room, cap, 0};
  int32_t status = deai_decode(&file_table, bytes, &file, &arena, err, err_cap);
  table->count = 0;
  if (status == DEAI_OK) {
    const rank_row *rows = file.rows.items;
    for (uint64_t i = 0; i < file.rows.count; i++) {
      rank_row *row = &table->rows[table->count++];
      *row = rows[i];
      keep_service(row, rows[i].service);
    }
    table->clock = file.clock;
  }
  free(room);
  return status;
}

/* ---- the table ---- */

int32_t rank_table_open(rank_table *table, uint64_t window) {
  *table = (rank_table){.window = window};
  table->rows = calloc(RANK_ROWS_MAX, sizeof *table->rows);
  return table->rows == NULL ? DEAI_ENOMEM : DEAI_OK;
}

void rank_table_close(rank_table *table) {
  free(table->rows);
  *table = (rank_table){0};
}

static rank_row *find(const rank_table *table, const uint8_t node[DEAI_KEY_BYTES],
                      deai_str service) {
  for (uint32_t i = 0; i < table->count; i++) {
    rank_row *row = &table->rows[i];
    if (memcmp(row->node, node, DEAI_KEY_BYTES) == 0 && deai_str_eq(row->service, service) != 0)
      return row;
  }
  return NULL;
}

/* row_for returns the row of (node, service): a new one, in the place of the oldest when full. */
static rank_row *row_for(rank_table *table, const uint8_t node[DEAI_KEY_BYTES], deai_str service) {
  rank_row *row = find(table, node, service);
  if (row != NULL) return row;
  if (table->count < RANK_ROWS_MAX) {
    row = &table->rows[table->count++];
  } else {
    row = &table->rows[0];
    for (uint32_t i = 1; i < table->count; i++)
      if (table->rows[i].seen < row->seen) row = &table->rows[i];
  }
  *row = (rank_row){.honesty = RANK_MICRO};
  memcpy(row->node, node, DEAI_KEY_BYTES);
  keep_service(row, service);
  return row;
}

/* moved returns mean moved towards value by 1/weight of the distance, rounded to the nearest. */
static uint64_t moved(uint64_t mean, uint64_t value, uint64_t weight) {
  if (value >= mean) return mean + (value - mean + weight / 2) / weight;
  return mean - (mean - value + weight / 2) / weight;
}

static uint64_t add_up(uint64_t a, uint64_t b) {
  return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

void rank_observe(rank_table *table, const deai_rank_observe *observed) {
  rank_row *row = row_for(table, observed->node, observed->service);
  row->seen = ++table->clock;
  row->calls = add_up(row->calls, 1);
  row->units = add_up(row->units, observed->n);
  row->paid = add_up(row->paid, observed->paid);
  uint64_t weight = row->calls < table->window ? row->calls : table->window;
  row->success = moved(row->success, observed->ok ? RANK_MICRO : 0, weight);
  if (observed->ok) {
    uint64_t first_ms = observed->first_ms < FIRST_MS_MAX ? observed->first_ms : FIRST_MS_MAX;
    row->ok = add_up(row->ok, 1);
    weight = row->ok < table->window ? row->ok : table->window;
    row->first_ms = moved(row->first_ms, first_ms * 1000, weight);
  }
  if (observed->audit == DEAI_RANK_EQUAL) {
    row->equal = add_up(row->equal, 1);
    row->honesty = moved(row->honesty, RANK_MICRO, table->window);
  } else if (observed->audit == DEAI_RANK_UNEQUAL) {
    row->unequal = add_up(row->unequal, 1);
    row->honesty /= LIE_DIVISOR;
  }
}

static uint64_t product(uint64_t success, uint64_t first_us, uint64_t honesty) {
  uint64_t half = (uint64_t)RANK_FIRST_HALF_MS * 1000;
  uint64_t speed = RANK_MICRO * half / (half + first_us);
  return success * speed / RANK_MICRO * honesty / RANK_MICRO;
}

uint64_t rank_score(const rank_table *table, const uint8_t node[DEAI_KEY_BYTES], deai_str service,
                    char why[RANK_WHY_MAX]) {
  const rank_row *row = find(table, node, service);
  if (row == NULL) {
    (void)snprintf(why, RANK_WHY_MAX, "never seen");
    return product(UNSEEN_SUCCESS, (uint64_t)RANK_FIRST_MS * 1000, RANK_MICRO);
  }
  uint64_t first_us = row->ok > 0 ? row->first_ms : (uint64_t)RANK_FIRST_MS * 1000;
  (void)snprintf(why, RANK_WHY_MAX,
                 "%" PRIu64 " calls, %" PRIu64 " answered, lately %" PRIu64 ".%" PRIu64
                 " %%, first part after %" PRIu64 " ms, audits %" PRIu64 " equal, %" PRIu64
                 " unequal",
                 row->calls, row->ok, row->success / 10000, row->success / 1000 % 10,
                 first_us / 1000, row->equal, row->unequal);
  return product(row->success, first_us, row->honesty);
}
