#include "yaml.h"

#include "deai/cbor.h"
#include "deai/plugin.h"

#include <libfyaml.h>

#include <stdbool.h>
#include <string.h>

#include "host/base/banned.h"

/* A walk over the text, a character at a time. */
typedef struct scan {
  deai_str text;
  uint64_t at;
  uint64_t line_start;
  int line;
  bool start;      /* a key or value may begin here */
  bool comment;    /* up to the end of the line */
  char quote;      /* the sign that ends the text in quotes, 0 outside of one */
  uint32_t depth;  /* of brackets */
  uint32_t dashes; /* of lists that begin on this line */
  const char *why; /* the first thing refused */
} scan;

static char look(const scan *s, uint64_t at) {
  return at < s->text.len ? s->text.ptr[at] : '\n';
}

static bool is_blank(char c) {
  return c == ' ' || c == '\n' || c == '\r';
}

static const char *refuse_start(const scan *s, char c) {
  if (c == '?' && (is_blank(look(s, s->at + 1)) || s->depth > 0))
    return "a plain key, found a complex one (?)";
  if (c == '&' || c == '*') return "a value, found an anchor or alias (& *); quote it";
  if (c == '!') return "a value, found a tag (!); quote it";
  if (c == '|' || c == '>') return "a text on one line, found a block (| >); quote it";
  if (c == '%' || c == '@' || c == '`') return "a value, found a reserved sign; quote it";
  return NULL;
}

static void scan_quoted(scan *s, char c) {
  if (c == '\n')
    s->why = "a text in quotes that ends on its line";
  else if (c == '\\' && s->quote == '"' && look(s, s->at + 1) != '\n')
    s->at++; /* what is escaped ends nothing */
  else if (c == s->quote && c == '\'' && look(s, s->at + 1) == '\'')
    s->at++;
  else if (c == s->quote)
    s->quote = 0;
}

static void open_bracket(scan *s) {
  if (++s->depth > DEAI_YAML_DEPTH_MAX) s->why = "at most 16 brackets in each other, found more";
}

/* scan_start takes a character where a key or value may begin. */
static void scan_start(scan *s, char c) {
  if (c == ' ' || c == '\r') return;
  if (c == '-' && is_blank(look(s, s->at + 1))) {
    if (++s->dashes > DEAI_YAML_DEPTH_MAX) s->why = "at most 16 lists in each other, found more";
    return;
  }
  s->start = c == '[' || c == '{';
  if (s->start)
    open_bracket(s);
  else if (c == '"' || c == '\'')
    s->quote = c;
  else
    s->why = refuse_start(s, c);
}

static void scan_plain(scan *s, char c) {
  bool after_blank = s->at == s->line_start || s->text.ptr[s->at - 1] == ' ';
  if (c == '#' && after_blank)
    s->comment = true;
  else if ((c == ']' || c == '}') && s->depth > 0)
    s->depth--;
  else if (s->start)
    scan_start(s, c);
  else
    s->start = (c == ',' && s->depth > 0) ||
               (c == ':' && (is_blank(look(s, s->at + 1)) || s->text.ptr[s->at - 1] == '"'));
}

/* document_mark returns whether a document begins or ends here. */
static bool document_mark(const scan *s) {
  const char *at = s->text.ptr + s->at;
  if (s->at != s->line_start || s->text.len - s->at < 3) return false;
  return memcmp(at, "---", 3) == 0 || memcmp(at, "...", 3) == 0;
}

static void line_begin(scan *s) {
  s->line++;
  s->line_start = s->at + 1;
  s->comment = false;
  s->start = true;
  s->dashes = 0;
}

static void scan_one(scan *s) {
  char c = s->text.ptr[s->at];
  bool line_end = c == '\n' || (c == '\r' && look(s, s->at + 1) == '\n');
  if (((unsigned char)c < ' ' && !line_end) || c == 0x7f)
    s->why = c == '\t' ? "spaces, found a tab" : "text, found a control character";
  else if (document_mark(s))
    s->why = "one document, found --- or ...";
  else if (s->quote != 0)
    scan_quoted(s, c);
  else if (c == '\n')
    line_begin(s);
  else if (!s->comment)
    scan_plain(s, c);
}

static int32_t check(deai_str text, const char *file, char *err, uint32_t err_cap) {
  scan s = {.text = text, .line = 1, .start = true};
  if (text.len > 0 && deai_utf8_check(text) == 0)
    return deai_err(err, err_cap, DEAI_EINVAL, "%s:1:1: expected UTF-8, found other bytes", file);
  for (; s.at < text.len; s.at++) {
    scan_one(&s);
    if (s.why != NULL)
      return deai_err(err, err_cap, DEAI_EINVAL, "%s:%d:%d: expected %s", file, s.line,
                      (int)(s.at - s.line_start) + 1, s.why);
  }
  return DEAI_OK;
}

int32_t deai_yaml_open(deai_str text, const char *file, struct fy_document **document_out,
                       char *err, uint32_t err_cap) {
  *document_out = NULL;
  int32_t status = check(text, file, err, err_cap);
  if (status != DEAI_OK) return status;
  struct fy_diag_cfg diag_cfg;
  fy_diag_cfg_default(&diag_cfg);
  diag_cfg.fp = NULL;
  struct fy_diag *diag = fy_diag_create(&diag_cfg);
  if (diag == NULL) return DEAI_ENOMEM;
  fy_diag_set_collect_errors(diag, true);
  struct fy_parse_cfg cfg = {.flags = FYPCF_DEFAULT_DOC & ~(unsigned)FYPCF_RESOLVE_DOCUMENT,
                             .diag = diag};
  *document_out = fy_document_build_from_string(&cfg, text.ptr, (size_t)text.len);
  void *iterator = NULL;
  struct fy_diag_error *error = fy_diag_errors_iterate(diag, &iterator);
  if (*document_out == NULL && error != NULL)
    (void)deai_err(err, err_cap, DEAI_EINVAL, "%s:%d:%d: %s", file, error->line, error->column,
                   error->msg);
  else if (*document_out == NULL)
    (void)deai_err(err, err_cap, DEAI_EINVAL, "%s:1:1: expected YAML", file);
  fy_diag_destroy(diag);
  return *document_out == NULL ? DEAI_EINVAL : DEAI_OK;
}
