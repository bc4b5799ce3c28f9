#ifndef DEAI_TESTS_PLUGINS_MODELS_ANSWER_PLAY_H
#define DEAI_TESTS_PLUGINS_MODELS_ANSWER_PLAY_H

#include "tests/plugins/models/fake.h"
#include "tests/testing.h"

/* The part of a provider of deai.lm/1, for tests of models/answer. */

/* Settings of the plug-in; zero = the default of the manifest, but no audit. */
typedef struct play_settings {
  uint64_t audit;
  bool audit_wait;
  uint64_t queue;
  const char *preset;
  bool local;
} play_settings;

extern const uint8_t play_alpha[DEAI_KEY_BYTES]; /* keys of two providers */
extern const uint8_t play_beta[DEAI_KEY_BYTES];
extern const uint8_t play_gamma[DEAI_KEY_BYTES]; /* and of one more */

/* play_begin starts models/answer. */
void play_begin(play_settings settings);

/* play_models answers the list asked for here with model "m" (ctx positions) and "o", and says that
   no member offers one. */
void play_models(uint64_t ctx);

/* play_members is play_models for other providers: here (NULL = no provider on this node), then
   count members. */
void play_members(uint64_t ctx, const uint8_t *here, const uint8_t *const *members, uint32_t count);

/* play_owners answers all questions for the owner of a member: account_of(key) is it, 0 = unknown,
   else the byte that the account repeats. Returns how many were asked. */
uint32_t play_owners(uint8_t (*account_of)(const uint8_t *key));

/* play_encode answers the open `encode` with count ids 1, 2, ... */
void play_encode(uint32_t count);

/* play_tokens gives one part with the ids first, first + 1, ... and a text; returns on_part's. */
int32_t play_tokens(fake_call *call, const uint8_t *provider, uint64_t first, uint32_t count,
                    const char *text);

/* play_end ends a call with n tokens and a root of one repeated byte. */
int32_t play_end(fake_call *call, const uint8_t *provider, uint64_t n, deai_lm_finish finish,
                 uint8_t root);

/* play_replayed ends a replay; wrong < 0 = every token is right. */
void play_replayed(fake_call *call, const uint8_t *provider, uint64_t n, uint8_t root,
                   int64_t wrong);

/* play_paid makes the receipts of play_end and play_replayed those of a channel. */
extern bool play_paid;

/* play_job decodes the arguments of a `generate` or `replay`. */
deai_lm_job play_job(const fake_call *call);

/* play_chat sends a chat request with the given members behind model and messages. */
uint64_t play_chat(const char *more);

/* play_json returns the body of the answer as JSON (decref it). */
json_t *play_json(uint64_t ticket);

/* play_content returns all delta contents of a stream put together; lives until the next call. */
const char *play_content(uint64_t ticket);

#endif
