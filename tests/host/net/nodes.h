#ifndef DEAI_TESTS_HOST_NET_NODES_H
#define DEAI_TESTS_HOST_NET_NODES_H

#include "host/net/net.h"
#include "host/router/router.h"
#include "tests/host/router/ends.h"
#include "tests/testing.h"

/* Small nodes over loopback, all on one loop: each has a key, a router with one service and a
   deai_net. Who is what is one table for all, as the ledger would say it; time can be moved.

   The service test/1 has a method of each class, named by it: local, member, guest, public; each
   answers "yes". The method `wait` (guest) never answers. */

#define TEST_SERVICE   "test/1"
#define TEST_NODES_MAX 4u

typedef struct test_node {
  deai_key *key;
  deai_router *router;
  deai_net *net;
  uint32_t class_of_it; /* what the others take it for */
  uint32_t ups;
  uint32_t downs;
} test_node;

/* What a call came back with. */
typedef struct test_answer {
  int32_t status;
  char why[512];
  char body[64];
  uint64_t len;
} test_answer;

extern deai_loop *test_loop;
extern const uint8_t test_genesis[DEAI_HASH_BYTES];

/* test_nodes_start makes the loop; test_nodes_end closes all nodes that are open. */
void test_nodes_start(void);
void test_nodes_end(void);

/* test_move_clock lets seconds go by for all nodes. */
void test_move_clock(uint64_t seconds);

/* test_node_open makes node number (< TEST_NODES_MAX) of class: it listens on a free port.
   genesis NULL = not joined yet. */
test_node *test_node_open(uint32_t number, uint32_t class_of_it, const uint8_t *genesis);

/* test_node_key returns its 32 bytes. */
const uint8_t *test_node_key(const test_node *node);

/* test_dial tells from that key (NULL = any) can be dialled where to listens. */
void test_dial(test_node *from, const test_node *to, const uint8_t *key);

/* test_rows returns how many nodes it is connected to. */
uint32_t test_rows(const test_node *node);

/* test_until serves the loop until done(user); the test fails after 30 s. */
void test_until(bool (*done)(void *user), void *user);

/* test_connect dials and waits until both sides are connected. */
void test_connect(test_node *from, test_node *to);

/* test_call_start calls a method of to over the connection of from. */
void test_call_start(test_node *from, const test_node *to, const char *service, const char *method,
                     deai_bytes args, test_end *end);

/* test_call does so and waits for the answer. */
test_answer test_call(test_node *from, const test_node *to, const char *service, const char *method,
                      deai_bytes args);

#endif
