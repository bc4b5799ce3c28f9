#ifndef DEAI_PLUGINS_COMPUTE_LM_TEMPLATE_H
#define DEAI_PLUGINS_COMPUTE_LM_TEMPLATE_H

#include "error.h"
#include "tokenizer.h"

#include "deai/types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An lm_template renders chat messages as the model was taught them. Templates in model files are
   programs; none is run. The text of a file's template is looked up by its SHA-256 in a table of
   renderers written by hand. A text that is not in the table but is plainly ChatML (it names
   <|im_start|> and <|im_end|>) gets the ChatML renderer and verified = false; any other is refused.

   The result is a list of parts: only the template's own text is special. Roles and contents are
   ordinary text and never become control tokens.

   Threads  [any].
   Memory   A rendering owns a copy of all text; lm_rendering_free frees it.
   Limits   LM_TEMPLATE_MESSAGES_MAX messages, LM_TEMPLATE_ROLE_MAX bytes of a role ([a-z_]). */

#define LM_TEMPLATE_MESSAGES_MAX 4096
#define LM_TEMPLATE_ROLE_MAX     32

typedef struct lm_template {
  const char *name;          /* "smollm2", "chatml" */
  const char *system_prompt; /* put first when the first message is not of the system, or NULL */
  const char *stops[4];      /* control tokens that end an answer, NULL behind the last */
  bool verified;             /* ids were compared with the original's */
} lm_template;

typedef struct lm_message {
  deai_str role; /* "system", "user", "assistant", "tool" */
  deai_str content;
} lm_message;

typedef struct lm_rendering {
  lm_part *parts;
  size_t part_count;
  uint8_t *bytes; /* what the parts point into, one after the other */
  size_t bytes_len;
} lm_rendering;

/* lm_template_hash writes SHA-256 of the template's text: its id on the wire. */
void lm_template_hash(deai_str text, uint8_t hash_out[DEAI_HASH_BYTES]);

/* lm_template_find returns the renderer for a template's text, or NULL (error says why) when the
   text is empty or unknown. The result is constant. */
const lm_template *lm_template_find(deai_str text, lm_error *error);

/* lm_template_by_hash returns the verified renderer whose text has this SHA-256, or NULL. For nodes
   that render without having the model. */
const lm_template *lm_template_by_hash(const uint8_t hash[DEAI_HASH_BYTES]);

/* lm_template_render lays out count messages and the opening of the assistant's answer. DEAI_EINVAL
   for no message or a role that is no word, DEAI_ETOOLARGE beyond the limits, DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t lm_template_render(const lm_template *chat, const lm_message *messages,
                                           size_t count, lm_rendering *rendering_out,
                                           lm_error *error);

/* lm_rendering_free frees the parts and leaves the rendering empty. */
void lm_rendering_free(lm_rendering *rendering);

#endif
