#ifndef DEAI_TESTS_PLUGINS_COMPUTE_LM_FAKE_H
#define DEAI_TESTS_PLUGINS_COMPUTE_LM_FAKE_H

#include "plugins/compute/lm/service.h"
#include "plugins/compute/lm/settings.h"

#include "deai/contracts/lm.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A host for tests of the service: the table of deai_host over plain arrays. Posts of other threads
   wait in a queue that the test runs (fake_until), timers run when the test says so (fake_tick),
   and
   what the service replies is taken apart and kept, a record for each ticket. */

#define FAKE_CALLS_MAX 16

typedef struct fake_answer {
  uint64_t ticket;
  uint64_t ids[512];
  uint32_t id_count;
  uint32_t text_at[512]; /* length of the text with token i */
  char text[8192];
  size_t text_len;
  uint32_t rows; /* logprob rows */
  uint32_t parts;
  uint32_t largest; /* most tokens in one part */
  uint64_t units;
  uint8_t *body; /* of encode, grown */
  size_t body_len;
  size_t body_parts;
  uint32_t window; /* parts taken until DEAI_EAGAIN */
  bool held;       /* answered DEAI_EAGAIN */
  bool ended;
  int32_t status;
  char why[DEAI_ERR_CAP];
  uint8_t end[8192];
  size_t end_len;
  deai_lm_end lm; /* of generate and replay; model points into end */
} fake_answer;

typedef struct fake_call { /* a call that the service made */
  uint64_t ticket;
  char method[32];
  uint8_t args[256];
  size_t args_len;
  uint32_t flags;
  bool cancelled;
} fake_call;

typedef struct fake_options {
  const char *path; /* of a model given by the settings, or NULL */
  const char *cid;  /* another, by its CID, or NULL */
  uint64_t context;
  uint64_t queue;
  uint64_t keep_ms;
} fake_options;

/* fake_open makes and starts a service of the CPU backend in a fresh host and, when options name a
   file, waits until it is loaded. */
deai_inst *fake_open(const fake_options *options);

/* fake_close stops and destroys it. */
void fake_close(void);

/* fake_begin makes and starts a service in the host as it is, which restart tests use. Returns what
   start says. */
int32_t fake_begin(const fake_options *options, char *err, uint32_t err_cap);

/* fake_settings encodes options as the host would; the bytes live until the next call. */
deai_bytes fake_settings(const fake_options *options);

/* fake_call_service calls method with args and body on a new ticket, which it returns; a refusal is
   kept as the END of that ticket. */
uint64_t fake_call_service(const char *method, deai_bytes args, deai_bytes body, uint64_t units);

/* fake_job calls generate or replay with the ids of prompt and then forced. */
uint64_t fake_job(const char *method, const deai_lm_job *job, const uint32_t *prompt,
                  const uint32_t *forced);

/* fake_model calls load or unload for a CID. */
uint64_t fake_model(const char *method, deai_bytes cid);

/* fake_at returns the record of a ticket. */
fake_answer *fake_at(uint64_t ticket);

/* fake_window makes the next tickets take so many parts before they answer DEAI_EAGAIN. */
void fake_window(uint32_t parts);

/* fake_drain gives ticket room for more parts and tells the service. */
void fake_drain(uint64_t ticket, uint32_t parts);

/* fake_cancel tells the service that the caller of ticket is gone. */
void fake_cancel(uint64_t ticket, int32_t status);

/* fake_until runs posts until done(user) is true; aborts the test after 20 seconds. */
void fake_until(bool (*done)(void *user), void *user);

/* fake_end runs posts until ticket has ended, and returns its record. */
fake_answer *fake_end(uint64_t ticket);

/* fake_held runs posts until ticket has answered DEAI_EAGAIN. */
fake_answer *fake_held(uint64_t ticket);

/* fake_tick runs the timers, as if a second had passed, and the posts that wait. */
void fake_tick(void);

/* fake_made returns the latest call the service made for method that is not answered, or NULL. */
fake_call *fake_made(const char *method);

/* fake_reply answers a call the service made: args with END and status, or a part of progress. */
void fake_reply(fake_call *call, int32_t status, const char *why, int32_t attachment);
void fake_progress(fake_call *call, uint64_t done, uint64_t of);

/* fake_counter returns the last value of a counter. */
uint64_t fake_counter(const char *name);

/* fake_offered returns how many models the offer names. */
uint32_t fake_offered(void);

/* fake_models runs `models` and returns the only one's CID; aborts unless there is exactly one. */
deai_bytes fake_models(deai_lm_model *row_out);

/* fake_tiny saves a tiny model under name in the private folder and returns its path. */
const char *fake_tiny(const char *name, uint64_t seed);

#endif
