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

// The entry of layer `simt`, for the calls that a faster layer hands on.
const void* plain_entry(const char* name, unsigned type);

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
