/* render MODEL: prints the text of the model's chat template as a JSON string; then, for each line
   of stdin (a JSON list of {role, content}), the text that our renderer makes of it, as a JSON
   string. */
#include "plugins/compute/lm/model.h"
#include "plugins/compute/lm/template.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/base/banned.h"

#define MESSAGES_MAX 64

static void print(const char *text, size_t len) {
  json_t *string = json_stringn(text, len);
  (void)json_dumpf(string, stdout, JSON_ENCODE_ANY);
  (void)putchar('\n');
  json_decref(string);
}

static int render(const lm_template *chat, const char *line) {
  lm_message messages[MESSAGES_MAX];
  lm_rendering out;
  lm_error error = {{0}};
  size_t count = 0;
  json_t *list = json_loads(line, 0, NULL);
  for (; count < json_array_size(list) && count < MESSAGES_MAX; count++) {
    const json_t *row = json_array_get(list, count);
    messages[count].role = deai_str_of(json_string_value(json_object_get(row, "role")));
    messages[count].content = deai_str_of(json_string_value(json_object_get(row, "content")));
  }
  int32_t status = lm_template_render(chat, messages, count, &out, &error);
  if (status == DEAI_OK) print((const char *)out.bytes, out.bytes_len);
  if (status == DEAI_OK) lm_rendering_free(&out);
  if (status != DEAI_OK) (void)fprintf(stderr, "render: %s\n", error.text);
  json_decref(list);
  return status == DEAI_OK ? 0 : 1;
}

int main(int argc, char **argv) {
  static char line[1 << 20];
  lm_model *model = NULL;
  lm_error error = {{0}};
  int fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0 || lm_model_open(fd, 0, &model, &error) != DEAI_OK) {
    (void)fprintf(stderr, "usage: render MODEL < LINES %s\n", error.text);
    return 2;
  }
  deai_str text = lm_model_template(model);
  const lm_template *chat = lm_template_find(text, &error);
  int code = chat == NULL ? 1 : 0;
  print(text.ptr, (size_t)text.len);
  while (code == 0 && fgets(line, sizeof line, stdin) != NULL)
    code = render(chat, line);
  lm_model_close(model);
  return code;
}
