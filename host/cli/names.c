#include "cli.h"

#include "host/base/base32.h"

#include <stdlib.h>

#include "host/base/banned.h"

#define PREFIX_MIN 4u /* characters of a key that may stand for it */

void cli_hex(deai_bytes bytes, char *out) {
  for (uint64_t i = 0; i < bytes.len; i++)
    (void)snprintf(out + 2 * i, 3, "%02x", bytes.ptr[i]);
  out[2 * bytes.len] = 0;
}

static void add_hex(json_t *row) {
  uint8_t key[DEAI_KEY_BYTES];
  char hex[CLI_HEX_KEY];
  uint64_t len = 0;
  const char *text = json_string_value(json_object_get(row, "key"));
  if (text == NULL ||
      deai_base32_get(deai_str_of(text), (deai_buf){key, sizeof key}, &len) != DEAI_OK ||
      len != sizeof key)
    return;
  cli_hex(deai_bytes_of(key, sizeof key), hex);
  (void)json_object_set_new(row, "hex", json_string(hex));
}

json_t *cli_members(const cli *line, int *code_out) {
  json_t *list = cli_json(line, "deai.node/1-draft", "members", code_out);
  for (size_t i = 0; i < json_array_size(list); i++)
    add_hex(json_array_get(list, i));
  return list;
}

static const char *member(const json_t *list, size_t index, const char *key) {
  const char *text = json_string_value(json_object_get(json_array_get(list, index), key));
  return text != NULL ? text : "";
}

const char *cli_member_name(const json_t *members, const char *hex) {
  for (size_t i = 0; i < json_array_size(members); i++)
    if (strcmp(member(members, i, "hex"), hex) == 0) return member(members, i, "name");
  return "";
}

static bool begins(const char *text, const char *prefix) {
  return strlen(prefix) >= PREFIX_MIN && strncmp(text, prefix, strlen(prefix)) == 0;
}

int cli_member_find(const json_t *members, const char *text, char hex_out[CLI_HEX_KEY]) {
  size_t found = 0;
  hex_out[0] = 0;
  for (size_t i = 0; i < json_array_size(members); i++) {
    const char *hex = member(members, i, "hex");
    bool named = strcmp(member(members, i, "name"), text) == 0;
    if (!named && !begins(hex, text) && !begins(member(members, i, "key"), text)) continue;
    (void)snprintf(hex_out, CLI_HEX_KEY, "%s", hex);
    if (named) return 0; /* names are unique */
    found++;
  }
  if (found == 1) return 0;
  (void)fprintf(stderr,
                "deai: expected the name of one member, or %u or more characters of its key, found "
                "%s%s; see deai member list\n",
                PREFIX_MIN, text, found > 1 ? ", which fits several" : "");
  return deai_status_exit(found > 1 ? DEAI_EINVAL : DEAI_ENOTFOUND);
}
