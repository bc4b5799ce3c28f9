#ifndef DEAI_HOST_ROUTER_OTHERS_H
#define DEAI_HOST_ROUTER_OTHERS_H

#include "deai/contracts/wire.h"

#include <stdbool.h>

/* The nodes that did not serve a call, each with a status and a reason, while they are gathered; in
   the end one item, deai_others, that travels with the END of the call.

   Threads  [any]
   Limits   DEAI_OTHERS_MAX nodes, DEAI_OTHER_WHY_MAX bytes of a reason; what is more is left out,
            never half a character of it. Control characters in a reason become question marks. */

typedef struct deai_others_row {
  uint8_t key[DEAI_KEY_BYTES];
  int32_t status;
  char why[DEAI_OTHER_WHY_MAX + 1];
} deai_others_row;

/* Zeroed it is empty. */
typedef struct deai_others_list {
  uint32_t count;
  deai_others_row rows[DEAI_OTHERS_MAX];
} deai_others_list;

/* deai_others_add notes a node; of one that stands there already the reason is added behind a
   semicolon and the status is the new one. */
void deai_others_add(deai_others_list *list, const uint8_t key[DEAI_KEY_BYTES], int32_t status,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));

/* deai_others_has returns whether the node stands there. */
bool deai_others_has(const deai_others_list *list, const uint8_t key[DEAI_KEY_BYTES]);

/* deai_others_drop takes a node out. */
void deai_others_drop(deai_others_list *list, const uint8_t key[DEAI_KEY_BYTES]);

/* deai_others_encode writes the item; DEAI_OTHERS_BYTES are always enough. */
DEAI_MUST_CHECK int32_t deai_others_encode(const deai_others_list *list, deai_buf out,
                                           uint64_t *len_out);

#endif
