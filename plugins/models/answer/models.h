#ifndef DEAI_PLUGINS_MODELS_ANSWER_MODELS_H
#define DEAI_PLUGINS_MODELS_ANSWER_MODELS_H

#include "reply.h"

#include "deai/plugin.h"
#include "deai/types.h"

#include <stdbool.h>

/* The models that this node and its members offer, asked for when somebody needs them.

     stale --get--> asking: here first, then each member (AWAY, avoiding those that answered)
       ^              | every answer adds models, and waiters look whether they have enough
       '-- 2 s -- complete

   A model is its CID: the first who offers it says its name, context and prices. Two models with
   one name: the API knows the first by its name and both by their CID.

   Providers  A model remembers which of the asked offer it; the first one asked is this node.
   Threads  [loop]
   Memory   A model found is valid until control goes back to the host.
   Limits   ANSWER_MODELS_MAX models, ANSWER_MEMBERS_MAX members asked. */

#define ANSWER_MODELS_MAX  128u
#define ANSWER_MEMBERS_MAX 16u
#define ANSWER_FRESH_MS    2000u
#define ANSWER_CID_TEXT    176u /* "b", base32 of DEAI_CID_MAX + 2 bytes, 0 */
#define ANSWER_DEFAULT     "default"

typedef struct answer_model {
  char name[DEAI_NAME_MAX + 1];
  char cid_text[ANSWER_CID_TEXT];
  uint8_t cid[DEAI_CID_MAX];
  uint64_t cid_len;
  uint64_t ctx;
  uint64_t price_in;
  uint64_t price_out;
  uint8_t template_hash[DEAI_HASH_BYTES];
  uint32_t offered; /* bit i: members[i] of answer_models offers it */
} answer_model;

/* A waiter is called after every answer; true = it has what it wants and is not called again.
   complete says that nothing more will come. */
typedef bool answer_models_fn(void *user, bool complete);

typedef struct answer_waiter {
  struct answer_waiter *next;
  answer_models_fn *look;
  void *user;
} answer_waiter;

typedef struct answer_models {
  answer_model *list;
  uint32_t count;
  bool fresh;
  bool asking;
  bool away; /* this node has answered: members are asked */
  uint64_t ticket;
  uint8_t members[ANSWER_MEMBERS_MAX][DEAI_KEY_BYTES];
  uint32_t member_count;
  uint8_t own[DEAI_KEY_BYTES]; /* this node's key, once a provider here has answered */
  bool has_own;
  answer_waiter *waiters;
} answer_models;

/* answer_models_get calls look now when the list is fresh, else after the answers. DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t answer_models_get(deai_inst *inst, answer_models_fn *look, void *user);

/* answer_models_forget takes the waiter with this user away. */
void answer_models_forget(deai_inst *inst, const void *user);

/* answer_models_find returns the model with this name or CID text; ANSWER_DEFAULT stands for the
   setting `default`, or the first one. NULL when it is not in the list (yet). */
const answer_model *answer_models_find(const deai_inst *inst, deai_str id);

/* answer_models_providers copies the keys of the nodes that offer the model of cid (at most
   ANSWER_MEMBERS_MAX) and returns how many there are. */
uint32_t answer_models_providers(const deai_inst *inst, deai_bytes cid,
                                 uint8_t keys_out[ANSWER_MEMBERS_MAX][DEAI_KEY_BYTES]);

/* answer_models_here returns whether key is this node's, as far as it is known. */
bool answer_models_here(const deai_inst *inst, const uint8_t key[DEAI_KEY_BYTES]);

/* answer_models_id returns what the API calls a model: its name, or its CID when an earlier one has
   the same name. */
const char *answer_models_id(const deai_inst *inst, uint32_t index);

/* answer_models_free frees the list and the waiters. */
void answer_models_free(deai_inst *inst);

/* answer_models_unknown fills error for a model that nobody serves now: 404 model_not_found, and
   what to do when there is none at all. */
void answer_models_unknown(const deai_inst *inst, answer_error *error);

#endif
