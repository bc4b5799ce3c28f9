#ifndef DEAI_HOST_CONFIG_YAML_H
#define DEAI_HOST_CONFIG_YAML_H

#include "deai/status.h"
#include "deai/types.h"

struct fy_document;

/* The YAML of config files: maps, lists, plain and quoted texts, comments. What a config has no use
   for and what parsers of YAML stumble over is refused before the library sees it: bytes that are
   no UTF-8, tabs and control characters, complex keys (?), anchors and aliases (& *), tags (!),
   directives (%), block texts (| >), quotes that end on another line, more than one document.

   Threads  [any]
   Memory   The document borrows the text; it is freed by fy_document_destroy.
   Limits   DEAI_YAML_DEPTH_MAX brackets in each other, and lists that begin on one line
   Caveats  libfyaml 0.7.12 writes through a wild pointer on `? [a]:<tab>:  1}`: fuzz_settings found
            it, and the rules above are what keeps it from the library. */

#define DEAI_YAML_DEPTH_MAX 16u

/* deai_yaml_open parses text. DEAI_EINVAL with `FILE:LINE:COLUMN: expected ...`, DEAI_ENOMEM. */
DEAI_MUST_CHECK int32_t deai_yaml_open(deai_str text, const char *file,
                                       struct fy_document **document_out, char *err,
                                       uint32_t err_cap);

#endif
