// What closes the source of a CUDA kernel: its entries go to the list from which the op table is
// filled when the library is loaded. A kernel without a source here has an entry that cannot run.
#pragma once

#include "context.h"
#include "cuda/gpu.h"

namespace hl::cuda {

struct Registered {
  const char* name;
  unsigned type;  // F32, F64 or RAW of kernels.h
  const char* layer;
  const char* file;
  const void* entry;
  bool chosen = true;
  Registered* next;
  Registered(const char* name, unsigned type, const char* layer, const char* file,
             const void* entry);
};

// For the calls that a faster layer hands on: the entry of layer `simt`, and the best one below
// `sm90a` that may be used.
const void* plain_entry(const char* name, unsigned type);
const void* entry_below_sm90a(const char* name, unsigned type);
// The entry of layer `sm90a` if there is one that may be used, of a function that is not in the op table.
const void* sm90a_entry(const char* name, unsigned type);

}  // namespace hl::cuda

#define HL_REGISTER_(name, T, bit, layer, run, plan)                       \
  static const Entry<name##_t<T>> name##_##T##_entry = {#name, run, plan}; \
  static Registered name##_##T##_registered(#name, bit, layer, __FILE__, &name##_##T##_entry)
#define HL_CUDA_KERNEL(name)                                                \
  HL_REGISTER_(name, float, 1u, "simt", &name<float>, &name##_plan<float>); \
  HL_REGISTER_(name, double, 2u, "simt", &name<double>, &name##_plan<double>)
#define HL_CUDA_RAW_KERNEL(name) HL_REGISTER_(name, void, 4u, "simt", &name, &name##_plan)
// On tensor cores, of float32 arrays. It hands what it does not take to plain_entry(), and is used
// only where that one may be.
#define HL_CUDA_MMA_KERNEL(name) \
  HL_REGISTER_(name, float, 1u, "mma", &name<float>, &name##_plan<float>)
// The same for compute capability 9.0 and no other, in a source *_sm90a.cu, which is not in every build.
#define HL_CUDA_SM90A_KERNEL(name) \
  HL_REGISTER_(name, float, 1u, "sm90a", &name<float>, &name##_plan<float>)
// ... of a function that is not in the op table: `name` is whatever its caller makes of sm90a_entry().
#define HL_CUDA_RAW_SM90A_KERNEL(name) \
  static Registered name##_sm90a_registered(#name, 4u, "sm90a", __FILE__, &name)
