#ifndef DEAI_HOST_NODE_H
#define DEAI_HOST_NODE_H

#include "host/base/metrics.h"
#include "host/config/config.h"
#include "host/http/apikeys.h"
#include "host/http/http.h"
#include "host/ledger/service.h"
#include "host/ledger/catchup.h"
#include "host/ledger/pay.h"
#include "host/net/join.h"
#include "host/net/local.h"
#include "host/net/net.h"
#include "host/plugin/plugins.h"
#include "host/router/router.h"

/* A deai_node is everything that one deaid runs, wired together: where plug-ins, router, HTTP,
   ledger and net meet.

     open: lock of the data folder, keys, ledger -> router -> plug-ins -> HTTP, deai.sock
     drain: no new requests; those that run go on for DEAI_NODE_DRAIN_MS
     close: plug-ins stopped, ledger closed

   Threads  [loop] */

#define DEAI_NODE_DRAIN_MS 10000u
#define DEAI_NODE_SERVICE  "deai.node/1-draft" /* administration: local only */

typedef struct deai_node {
  deai_loop *loop;
  deai_config *config;
  char data[4000];
  char plughost[4096];
  int lock_fd;
  deai_key *key;
  deai_key *order;
  deai_ledger *ledger;
  deai_ledger_service *ledger_service;
  deai_router *router;
  deai_plugins *plugins;
  deai_metrics *metrics;
  deai_http *http;
  deai_apikeys apikeys;
  deai_local *local;
  deai_net *net;
  deai_join *join;
  deai_catchup *catchup;
  deai_pay *pay;
  uint8_t genesis[DEAI_HASH_BYTES];
  bool announce_asked;
  deai_timer *drain;
  uint64_t started_ns;
  bool stopping;
} deai_node;

/* deai_node_open opens and starts everything; a refusal leaves a reason in err and a node that
   deai_node_close may be called on. plughost is the absolute path of deai-plughost. */
DEAI_MUST_CHECK int32_t deai_node_open(deai_node *node, deai_loop *loop, deai_config *config,
                                       const char *plughost, char *err, uint32_t err_cap);

/* deai_node_stop begins the drain; the loop is stopped when nothing runs any more. */
void deai_node_stop(deai_node *node);

/* deai_node_close ends and frees what open made. */
void deai_node_close(deai_node *node);

/* deai_node_height returns the height of this node's ledger; user is the node, as seams hand it. */
uint64_t deai_node_height(void *user);

/* deai_admin_offering is the service deai.node/1 over this node (host/admin.c): JSON in the body of
   the END, for the command line.
     status · plugins · stop · invite {for_ms, role, grant} -> {code} · members · peers ·
     account {key} · submit {tx} · wallet · history {from} ·
     claim · close */
deai_offering deai_admin_offering(deai_node *node);

#endif
