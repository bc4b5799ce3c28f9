/* Plug-ins that must not be loaded; ZOO_KIND says what is wrong with this one. */
#include "deai/host.h"

#include "host/base/banned.h"

#define ZOO_NO_NOTE    1 /* no manifest */
#define ZOO_BAD_NOTE   2 /* a manifest with an unknown key */
#define ZOO_NO_ENTRY   3 /* no deai_plugin_entry */
#define ZOO_NEW_MAJOR  4 /* needs a host that does not exist */
#define ZOO_NO_TABLE   5 /* an entry without a table */
#define ZOO_SHORT      6 /* a table that ends too early */
#define ZOO_NO_CALLS   7 /* offers a service and cannot be called */
#define ZOO_REFUSES    8 /* refuses every host, with a reason */
#define ZOO_NO_SYMBOLS 9 /* needs a function that nobody has */

#if ZOO_KIND == ZOO_BAD_NOTE
DEAI_MANIFEST_FILE("bad.json");
#elif ZOO_KIND != ZOO_NO_NOTE
DEAI_MANIFEST_FILE("wild.json");
#endif

#if ZOO_KIND == ZOO_NO_ENTRY
DEAI_EXPORT int32_t deai_plugin_exit(void);
int32_t deai_plugin_exit(void) {
  return 0;
}
#else
#if ZOO_KIND == ZOO_NO_SYMBOLS
int32_t deai_function_of_nobody(void);
#endif

static int32_t create(const deai_host *host, deai_ctx *ctx, deai_bytes settings,
                      deai_inst **inst_out, char *err, uint32_t err_cap) {
  (void)host, (void)ctx, (void)settings, (void)inst_out, (void)err, (void)err_cap;
  return DEAI_EINTERNAL;
}

static int32_t start(deai_inst *inst, char *err, uint32_t err_cap) {
  (void)inst, (void)err, (void)err_cap;
  return DEAI_OK;
}

static void stop(deai_inst *inst) {
  (void)inst;
}

static const deai_plugin plugin = {.size = (uint32_t)sizeof(deai_plugin) -
                                           (ZOO_KIND == ZOO_SHORT ? 8 : 0),
                                   .create = create,
                                   .start = start,
                                   .stop = stop,
                                   .destroy = stop};

int32_t deai_plugin_entry(deai_hello *hello) {
  hello->need_major = DEAI_ABI_MAJOR + (ZOO_KIND == ZOO_NEW_MAJOR);
  hello->need_minor = 0;
  hello->plugin = ZOO_KIND == ZOO_NO_TABLE ? NULL : &plugin;
#if ZOO_KIND == ZOO_NO_SYMBOLS
  return deai_function_of_nobody();
#else
  return ZOO_KIND == ZOO_REFUSES
             ? deai_err(hello->err, hello->err_cap, DEAI_EUNSUPPORTED, "expected a CPU with wings")
             : DEAI_OK;
#endif
}
#endif
