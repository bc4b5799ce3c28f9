#ifndef DEAI_TESTS_PLUGINS_MODELS_FAKE_H
#define DEAI_TESTS_PLUGINS_MODELS_FAKE_H

#include "deai/contracts/http.h"
#include "deai/contracts/lm.h"
#include "deai/host.h"

#include <stdbool.h>

/* A host for tests of one plug-in in this process: it keeps what the plug-in asks for, and the test
   plays the providers, the HTTP client and the clock. The plug-in is the one whose
   deai_plugin_entry is linked into the test.

     fake_start --> fake_http --> fake_open finds the plug-in's calls --> fake_part, fake_end
                                  fake_answer_of shows what the HTTP client got

   Memory   Everything is freed by fake_stop, which also runs stop and destroy. */

#define FAKE_CALLS_MAX   128u
#define FAKE_ANSWERS_MAX 32u

typedef struct fake_call {
  uint64_t ticket;
  char service[64];
  char method[32];
  uint8_t *args;
  uint64_t args_len;
  uint8_t *body;
  uint64_t body_len;
  uint8_t provider[DEAI_KEY_BYTES]; /* the only node asked, or zeros */
  uint8_t avoid[8][DEAI_KEY_BYTES];
  uint32_t avoid_count;
  uint32_t flags;
  uint64_t units;
  uint64_t parent;
  uint8_t job[DEAI_ID_BYTES];
  bool cancelled;
  bool ended;
} fake_call;

typedef struct fake_answer {
  uint64_t ticket;
  uint64_t http_status;
  char *headers; /* "name: value\n" each */
  char *body;    /* with a zero behind it */
  uint64_t body_len;
  uint32_t parts; /* that carried a body */
  uint8_t *args;  /* of the END */
  uint64_t args_len;
  uint32_t ends;
  int32_t end_status;
} fake_answer;

typedef struct fake_host {
  deai_inst *inst;
  const deai_plugin *plugin;
  fake_call calls[FAKE_CALLS_MAX];
  uint32_t call_count;
  fake_answer answers[FAKE_ANSWERS_MAX];
  uint32_t answer_count;
  uint64_t next_ticket;
  int64_t window; /* replies taken before DEAI_EAGAIN; -1 = all */
  uint32_t timer_count;
  void (*timers[16])(deai_inst *inst, void *user);
  void *timer_users[16];
  char logs[65536];
  char counts[64][64]; /* "name=value", the last value of each */
  uint32_t count_count;
  const char *folder;
  deai_text_pair headers[8]; /* sent with fake_http */
  uint32_t header_count;
  deai_bytes others; /* goes with every END */
} fake_host;

extern fake_host fake;

/* fake_begin loads the plug-in and starts it with settings (CBOR). */
void fake_begin(deai_bytes settings);

/* fake_stop stops and destroys it, and checks that every HTTP ticket had at most one END. */
void fake_stop(void);

/* fake_call_in calls the plug-in's service with args and a whole body; returns the ticket. */
uint64_t fake_call_in(const char *service, const char *method, deai_bytes args, deai_bytes body);

/* fake_http sends a request of HTTP with a whole body; returns its ticket. */
uint64_t fake_http(const char *method, const char *path, const char *body);

/* fake_cancel says that the client of ticket is gone. */
void fake_cancel(uint64_t ticket);

/* fake_answer_of returns what was replied on ticket; aborts when there is no such ticket. */
fake_answer *fake_answer_of(uint64_t ticket);

/* fake_open returns the first open call of method, or NULL; host->query is the method "query". */
fake_call *fake_open(const char *method);

/* fake_part gives the plug-in a part of its call; returns what on_part answered. */
int32_t fake_part(fake_call *call, deai_bytes args, deai_bytes body, const uint8_t *provider);

/* fake_end ends a call of the plug-in; returns what on_part answered, and then the call is over
   unless that was DEAI_EAGAIN. */
int32_t fake_end(fake_call *call, int32_t status, deai_bytes args, const uint8_t *provider,
                 deai_bytes receipt);

/* fake_fail ends a call with a status and a reason. */
void fake_fail(fake_call *call, int32_t status, const uint8_t *provider);

/* fake_encode writes value into a static room that the next call overwrites. */
deai_bytes fake_encode(const deai_table *table, const void *value);

/* fake_timers_run runs the timers that wait, each once. */
void fake_timers_run(void);

/* fake_counted returns the last value of a counter, 0 when it was never set. */
uint64_t fake_counted(const char *name);

#endif
