/* The loader: files that must not be opened, plug-ins that must not be loaded, sized tables. */
#include "tests/testing.h"

#include "host/base/hash.h"
#include "host/plugin/loader.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/base/banned.h"

static char err[DEAI_ERR_CAP];
static char path[8300];

static const char *zoo(const char *name) {
  (void)snprintf(path, sizeof path, "%s/%s.so", getenv("DEAI_ZOO"), name);
  return path;
}

static void expect(const char *why) {
  ck_assert_msg(strstr(err, why) != NULL, "expected \"%s\", found \"%s\"", why, err);
}

static void refused(const char *name, int32_t status, const char *why) {
  deai_loaded loaded;
  ck_assert_int_eq(deai_loader_open(&loaded, name, NULL, err, sizeof err), status);
  ck_assert_int_eq(loaded.fd, -1);
  expect(why);
}

/* copy makes a private copy of the echo plug-in with mode. */
static const char *copy(mode_t mode) {
  static uint8_t bytes[1 << 20];
  FILE *from = fopen(getenv("DEAI_ECHO_PLUGIN"), "rb");
  ck_assert_ptr_nonnull(from);
  size_t got = fread(bytes, 1, sizeof bytes, from);
  (void)fclose(from);
  (void)snprintf(path, sizeof path, "%s/copy.so", testing_folder());
  FILE *to = fopen(path, "wb");
  ck_assert_ptr_nonnull(to);
  ck_assert_uint_eq(fwrite(bytes, 1, got, to), got);
  (void)fclose(to);
  ck_assert_int_eq(chmod(path, mode), 0);
  return path;
}

START_TEST(files_that_are_not_opened) {
  char link_path[4200];
  refused("plugin.so", DEAI_EINVAL, "plugin.so: expected an absolute path of a plug-in");
  refused("/no/such/file.so", DEAI_ENOTFOUND,
          "/no/such/file.so: expected the plug-in here: No such file or directory; install it or "
          "mend `path`");
  refused("/tmp", DEAI_EINVAL, "/tmp: expected a regular file, found another kind");
  refused("/etc/passwd", DEAI_EINVAL, "/etc/passwd: expected a shared object (ELF)");
  refused(copy(0666), DEAI_EDENIED,
          "expected a file that only its owner can write, found mode "
          "0666; chmod go-w");
  refused(copy(0620), DEAI_EDENIED, "found mode 0620");
  (void)snprintf(link_path, sizeof link_path, "%s/fifo", testing_folder());
  ck_assert_int_eq(mkfifo(link_path, 0600), 0);
  refused(link_path, DEAI_EINVAL, "expected a regular file, found another kind");
}
END_TEST

START_TEST(a_file_of_another_owner) {
  if (geteuid() != 0) return; /* only root can make one */
  const char *name = copy(0600);
  ck_assert_int_eq(chown(name, 12345, 12345), 0);
  refused(name, DEAI_EDENIED, "expected a file owned by root or uid 0, found uid 12345; chown it");
}
END_TEST

START_TEST(a_pin_must_fit) {
  deai_loaded loaded;
  uint8_t pin[DEAI_HASH_BYTES] = {0};
  const char *echo = getenv("DEAI_ECHO_PLUGIN");
  ck_assert_int_eq(deai_loader_open(&loaded, echo, pin, err, sizeof err), DEAI_EVERIFY);
  expect("expected the SHA-256 of the config, found another file; mend `sha256`");
  ck_assert_int_eq(deai_loader_open(&loaded, echo, NULL, err, sizeof err), DEAI_OK);
  memcpy(pin, loaded.sha256, sizeof pin);
  deai_loader_close(&loaded);
  ck_assert_int_eq(deai_loader_open(&loaded, echo, pin, err, sizeof err), DEAI_OK);
  ck_assert_str_eq(loaded.manifest.id, "example/echo");
  deai_loader_close(&loaded);
  deai_loader_close(&loaded);
}
END_TEST

START_TEST(manifests_that_are_refused) {
  refused(zoo("zoo_no_note"), DEAI_EINVAL, "expected a deai manifest note, found none");
  refused(zoo("zoo_bad_note"), DEAI_EINVAL, "manifest: expected no key \"surprise\"; update deai");
}
END_TEST

typedef struct wild {
  const char *name;
  int32_t status;
  const char *why;
} wild;

static const wild wilds[] = {
    {"zoo_no_entry", DEAI_EINVAL, "zoo/wild: expected the symbol deai_plugin_entry, found none"},
    {"zoo_new_major", DEAI_EVERSION,
     "zoo/wild: expected a plug-in for SDK 0.0 to 0.1, found one that needs 1.0; update deai or "
     "rebuild the plug-in"},
    {"zoo_no_table", DEAI_EVERSION, "zoo/wild: expected a table from deai_plugin_entry"},
    {"zoo_short", DEAI_EVERSION,
     "zoo/wild: expected a complete table with create, start, stop and destroy"},
    {"zoo_no_calls", DEAI_EVERSION,
     "zoo/wild: expected on_call and on_cancel: the manifest offers services"},
    {"zoo_refuses", DEAI_EVERSION, "zoo/wild: refused this host: expected a CPU with wings"},
    {"zoo_no_symbols", DEAI_EINVAL, "zoo/wild: cannot be loaded: "},
    {"zoo_no_library", DEAI_EINVAL,
     "zoo/wild: cannot be loaded: libzoo-gone.so: cannot open shared object file: No such file or "
     "directory; install what is missing"},
};

START_TEST(plugins_that_are_not_loaded) {
  deai_loaded loaded;
  ck_assert_msg(deai_loader_open(&loaded, zoo(wilds[_i].name), NULL, err, sizeof err) == DEAI_OK,
                "%s", err);
  ck_assert_int_eq(deai_loader_load(&loaded, err, sizeof err), wilds[_i].status);
  expect(wilds[_i].why);
  deai_loader_close(&loaded);
}
END_TEST

START_TEST(the_file_that_was_checked_is_loaded) {
  deai_loaded loaded;
  const char *name = copy(0600);
  ck_assert_int_eq(deai_loader_open(&loaded, name, NULL, err, sizeof err), DEAI_OK);
  ck_assert_int_eq(unlink(name), 0); /* the name may be anything by now */
  ck_assert_msg(deai_loader_load(&loaded, err, sizeof err) == DEAI_OK, "%s", err);
  ck_assert(loaded.plugin.on_call != NULL);
  deai_loader_close(&loaded);
  int fd = open(getenv("DEAI_ECHO_PLUGIN"), O_RDONLY | O_CLOEXEC);
  ck_assert_int_eq(deai_loader_adopt(&loaded, fd, err, sizeof err), DEAI_OK);
  ck_assert_str_eq(loaded.manifest.id, "example/echo");
  deai_loader_close(&loaded);
}
END_TEST

typedef struct table {
  uint32_t size;
  uint32_t reserved;
  void *first;
  void *second;
} table;

START_TEST(tables_of_other_sizes) {
  table mine;
  struct {
    table known;
    void *later;
  } theirs = {.known = {.first = &mine, .second = &mine}, .later = &mine};
  theirs.known.size = 15; /* no multiple of a pointer */
  ck_assert_int_eq(deai_table_take(&mine, sizeof mine, &theirs, 8), DEAI_EVERSION);
  theirs.known.size = 8;
  ck_assert_int_eq(deai_table_take(&mine, sizeof mine, &theirs, 16), DEAI_EVERSION);
  theirs.known.size = 16; /* older than we: the second slot reads as NULL */
  ck_assert_int_eq(deai_table_take(&mine, sizeof mine, &theirs, 16), DEAI_OK);
  ck_assert_ptr_eq(mine.first, &mine);
  ck_assert_ptr_null(mine.second);
  theirs.known.size = (uint32_t)sizeof theirs; /* newer: what we do not know is left behind */
  ck_assert_int_eq(deai_table_take(&mine, sizeof mine, &theirs, 16), DEAI_OK);
  ck_assert_ptr_eq(mine.second, &mine);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("loader");
  TCase *tests = tcase_create("loader");
  tcase_add_test(tests, files_that_are_not_opened);
  tcase_add_test(tests, a_file_of_another_owner);
  tcase_add_test(tests, a_pin_must_fit);
  tcase_add_test(tests, manifests_that_are_refused);
  tcase_add_loop_test(tests, plugins_that_are_not_loaded, 0, (int)(sizeof wilds / sizeof wilds[0]));
  tcase_add_test(tests, the_file_that_was_checked_is_loaded);
  tcase_add_test(tests, tables_of_other_sizes);
  suite_add_tcase(suite, tests);
  return testing_run(suite);
}
