#include "modules.h"

#include "host/base/banned.h"

static const deai_ledger_module *const modules[] = {&deai_module_account, &deai_module_chain,
                                                    &deai_module_channel, &deai_module_registry};

const deai_ledger_module *deai_modules_at(uint32_t index) {
  return index < sizeof modules / sizeof modules[0] ? modules[index] : NULL;
}

const deai_ledger_module *deai_modules_find(deai_str id) {
  const deai_ledger_module *module = NULL;
  for (uint32_t i = 0; (module = deai_modules_at(i)) != NULL; i++) {
    if (deai_str_eq(id, deai_str_of(module->id))) return module;
  }
  return NULL;
}
