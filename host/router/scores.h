#ifndef DEAI_HOST_ROUTER_SCORES_H
#define DEAI_HOST_ROUTER_SCORES_H

#include "host/call.h"

/* What models/rank thinks of members, as far as the router has heard: scores of `deai.rank/1 score`
   (success x speed x honesty, 10^-6). The router cannot wait for a plug-in while it places a call,
   so it uses what is known and asks anew for the next time; one question is on its way at a time.

   Threads  [loop]
   Limits   DEAI_SCORES_MAX nodes of one service; the one heard of longest ago makes room. */

#define DEAI_SCORES_MAX    256u
#define DEAI_SCORES_UNSEEN 500000u /* of a node that was never seen (plugins/models/rank/score.h) */

typedef struct deai_scores deai_scores;

/* deai_scores_new makes an empty table; questions are opened with open. NULL when memory is
   refused. */
DEAI_MUST_CHECK deai_scores *deai_scores_new(deai_open_fn *open, void *user);

/* deai_scores_free gives up a question that is on its way. NULL is allowed. */
void deai_scores_free(deai_scores *scores);

/* deai_scores_of returns the score of node for service, DEAI_SCORES_UNSEEN when none is known. */
uint64_t deai_scores_of(const deai_scores *scores, deai_str service,
                        const uint8_t node[DEAI_KEY_BYTES]);

/* deai_scores_ask asks for count nodes (at most DEAI_PEERS_MAX); nothing while a question is on its
   way. */
void deai_scores_ask(deai_scores *scores, deai_str service, const uint8_t (*nodes)[DEAI_KEY_BYTES],
                     uint32_t count);

#endif
