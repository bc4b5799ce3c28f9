#ifndef DEAI_HOST_ROUTER_ROUTER_H
#define DEAI_HOST_ROUTER_ROUTER_H

#include "host/peers.h"
#include "host/provider.h"
#include "host/settle.h"

/* The router finds who answers a call: a plug-in of this node, or a member that announced the
   service. The caller need not care; the callee always learns who calls.

     open -> class of the method against the caller -> local offering -> members by price, then
             latency, load and score -> ENOPROVIDER with every refused node and its reason

   Local    A local provider comes first unless the call says AWAY, names another node, or the
            model it wants is not offered here. DEAI_EBUSY of a local one moves the call on.
   Order    Members of one price by (latency x calls under way) / score; the score is what
            models/rank has made of their answers, times and audits (scores.h), asked for calls
            that want a model. One whose score is below DEAI_ROUTER_SCORE_POOR (it lied, or fails
            most calls) comes behind all others, whatever it costs.
   Retry    A provider that is lost or busy before its first part is replaced by the next one.
   Settle   A call with a job id is hashed, counted and receipted on both sides (settle.h).
   Explain  A call with DEAI_CALL_EXPLAIN gets with its END who of the network did not serve it, and
            why (others.h), as it was when its provider was chosen.
   Origin   A call made while serving another carries a keyed hash of the first caller.
   Threads  [loop]
   Limits   DEAI_ROUTER_OFFERS_MAX local services, DEAI_PEERS_MAX members looked at. */

#define DEAI_ROUTER_OFFERS_MAX 32u
#define DEAI_ROUTER_OFFER_ARGS 4096u
#define DEAI_ROUTER_SCORE_POOR 62500u /* 10^-6: an eighth of a node that was never seen */

typedef struct deai_router deai_router;

/* deai_router_new makes a router for the node with key own. NULL when memory is refused. */
DEAI_MUST_CHECK deai_router *deai_router_new(deai_loop *loop, const uint8_t own[DEAI_KEY_BYTES]);

/* deai_router_free frees it; no call may be open. NULL is allowed. */
void deai_router_free(deai_router *router);

/* deai_router_peers and deai_router_settle connect the other two; without them calls stay local
   and carry no receipt. */
void deai_router_peers(deai_router *router, const deai_peers *peers);
/* deai_router_settle connects what pays and signs. */
void deai_router_settle(deai_router *router, const deai_settle *settle);

/* deai_router_offer adds a local offering; DEAI_EFULL when there are too many. */
DEAI_MUST_CHECK int32_t deai_router_offer(deai_router *router, const deai_offering *offering);

/* deai_router_enable says whether the offerings of plugin answer now (a child may be down). */
void deai_router_enable(deai_router *router, const char *plugin, bool enabled);

/* deai_router_describe sets the args of an offering for the node record. */
void deai_router_describe(deai_router *router, const char *plugin, deai_str service,
                          deai_bytes args);

/* deai_router_each_offer calls each for every enabled offering that members may call. */
typedef void deai_router_each(void *user, deai_str service, deai_bytes args);
void deai_router_each_offer(deai_router *router, deai_router_each *each, void *user);

/* deai_router_on_change sets what is called when the offers above have changed. */
void deai_router_on_change(deai_router *router, deai_task_fn *changed, void *user);

/* deai_router_open is the deai_open_fn of deaid; user is the router. */
deai_call *deai_router_open(void *user, const deai_call_spec *spec, const deai_end_ops *ops,
                            void *end_user);

/* deai_router_ready says how a settlement ended that was DEAI_EAGAIN (settle.h): DEAI_OK, or why
   the call must be placed elsewhere. With an error for a call that runs: it is cancelled. */
void deai_router_ready(deai_call *call, int32_t status, const char *why);

/* deai_router_open_calls returns how many calls are open. */
uint32_t deai_router_open_calls(const deai_router *router);

#endif
