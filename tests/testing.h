#ifndef DEAI_TESTS_TESTING_H
#define DEAI_TESTS_TESTING_H

#include <check.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What all test programs share: the main program of a suite, private folders, and the readers of
   test vectors.

   Vectors lie in folders named by $DEAI_VECTORS (colon list; default tests/vectors under
   $DEAI_TEST_ROOT), one sub-folder an area, so anybody can run a test on other data. */

/* testing_run runs suite and returns the exit status of main: 0 when every test passed. */
int testing_run(Suite *suite);

/* testing_folder makes a fresh private folder and returns its path, which lives until the process
   ends; the folder is removed at exit. */
const char *testing_folder(void);

/* testing_vector_rows calls row for each line of each FILE `area/name` found in the folders of
   $DEAI_VECTORS. Returns how many rows were read; a line that is no JSON aborts the test. */
typedef void testing_row(json_t *object, void *user);
size_t testing_vector_rows(const char *area, const char *name, testing_row *row, void *user);

/* testing_vectors_each calls file for each existing folder FOLDER/area and returns their count. */
typedef void testing_area(const char *folder, void *user);
size_t testing_vectors_each(const char *area, testing_area *each, void *user);

/* testing_tally prints the line `vectors AREA: P passed, F failed, N not in this build` that
   ./check vectors collects. */
void testing_tally(const char *area, size_t passed, size_t failed, size_t not_in_build);

/* testing_hex decodes hex into a fresh buffer (free it) and sets *len_out; aborts on bad hex. */
uint8_t *testing_hex(const char *hex, size_t *len_out);

/* testing_model returns the path of the GGUF file $DEAI_MODEL, or of the cached SmolLM2 weights
   that ./demo and ./check fetch, or NULL after printing why the test is skipped. */
const char *testing_model(void);

#endif
