// What closes the source of a kernel: its entry for the op table, which gathers them in kernels.h.
// Only the contract is seen here, so a new line in kernels.def compiles no kernel but its own.
#pragma once

#include "context.h"

// Puts <name> and <name>_plan into the tables of its types.
#define HL_DEFINE_KERNEL_ENTRY(name, T, run, plan) \
  template <>                                      \
  constinit const Entry<name##_t<T>> name##_kernel<T>::entry = {#name, run, plan}
#define HL_DECLARE_KERNEL_ENTRY(name)      \
  template <class T>                       \
  struct name##_kernel {                   \
    static const Entry<name##_t<T>> entry; \
  }
#define HL_DEFINE_KERNEL(name)                                            \
  HL_DECLARE_KERNEL_ENTRY(name);                                          \
  HL_DEFINE_KERNEL_ENTRY(name, float, &name<float>, &name##_plan<float>); \
  HL_DEFINE_KERNEL_ENTRY(name, double, &name<double>, &name##_plan<double>)
// RAW kernels move bytes: <name> and <name>_plan are plain functions.
#define HL_DEFINE_RAW_KERNEL(name) \
  HL_DECLARE_KERNEL_ENTRY(name);   \
  HL_DEFINE_KERNEL_ENTRY(name, void, &name, &name##_plan)
