/* call_bench: what a call through a running node costs. Prints one line of JSON.

     call_bench DATA CALLS [PLUGIN]

   DATA is the data folder of a node, where `example.echo/1 echo` (sdk/template) is served by
   PLUGIN: the id of a plug-in, or nothing for whoever the router picks, such as another member.
   Calls are made one behind the other over DATA/deai.sock, each with a body of 64 bytes that comes
   back.

   p50_us, p99_us   of a whole call
   base_us          p50 of a call that the node answers itself (deai.ledger/1-draft head): so the
                    socket and the command line's side are known, and what is above it is the
                    plug-in's */
#include "deai/contracts/ledger.h"
#include "host/cli/client.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/base/banned.h"

#define BODY    64u
#define TIME_MS 10000u

typedef struct answer {
  uint8_t body[256];
  uint64_t len;
} answer;

static double now_us(void) {
  struct timespec t;
  (void)clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static bool collect(void *user, const deai_part *part) {
  answer *got = user;
  if (part->body.len > sizeof got->body - got->len) return true;
  if (part->body.len > 0) memcpy(got->body + got->len, part->body.ptr, (size_t)part->body.len);
  got->len += part->body.len;
  return true;
}

static int by_time(const void *a, const void *b) {
  double x = *(const double *)a;
  double y = *(const double *)b;
  return x < y ? -1 : x > y ? 1 : 0;
}

/* run makes count calls; times gets the microseconds of each, in order of size. */
static void run(deai_client *client, deai_client_call *call, bool echoes, uint32_t count,
                double *times) {
  char why[DEAI_ERR_CAP] = "";
  for (uint32_t i = 0; i < count; i++) {
    answer got = {.len = 0};
    call->user = &got;
    double start = now_us();
    int32_t status = deai_client_run(client, call, why, sizeof why);
    times[i] = now_us() - start;
    bool same = !echoes ||
                (got.len >= BODY && memcmp(got.body + got.len - BODY, call->body.ptr, BODY) == 0);
    if (status == DEAI_OK && same) continue;
    (void)fprintf(stderr, "call_bench: %s %s: %s\n", call->service, call->method,
                  status != DEAI_OK ? why : "another body came back");
    exit(1);
  }
  qsort(times, count, sizeof *times, by_time);
}

int main(int argc, char **argv) {
  char err[DEAI_ERR_CAP] = "";
  uint8_t body[BODY];
  long count = argc >= 3 ? strtol(argv[2], NULL, 10) : 0;
  if (argc > 4 || count < 1 || count > 10000000) {
    (void)fprintf(stderr, "usage: call_bench DATA CALLS [PLUGIN]\n");
    return 2;
  }
  memset(body, 'e', sizeof body);
  double *times = calloc((size_t)count, sizeof *times);
  deai_client *client = deai_client_open(argv[1], err, sizeof err);
  if (client == NULL || times == NULL) {
    (void)fprintf(stderr, "call_bench: %s\n", err);
    return 1;
  }
  deai_client_call base = {
      .service = DEAI_LEDGER_SERVICE, .method = "head", .part = collect, .time_ms = TIME_MS};
  deai_client_call echo = {.service = "example.echo/1",
                           .method = "echo",
                           .plugin = argc == 4 ? argv[3] : NULL,
                           .body = deai_bytes_of(body, sizeof body),
                           .part = collect,
                           .time_ms = TIME_MS};
  uint32_t n = (uint32_t)count;
  run(client, &base, false, n, times);
  double base_us = times[n / 2];
  run(client, &echo, true, n, times);
  (void)printf("{\"bench\": \"call\", \"calls\": %" PRIu32
               ", \"p50_us\": %.1f, \"p99_us\": %.1f, \"base_us\": %.1f}\n",
               n, times[n / 2], times[(uint64_t)n * 99 / 100], base_us);
  deai_client_free(client);
  free(times);
  return 0;
}
