// For tests: bytes around a call's scratch memory that its kernel has no business with.
#pragma once

#include "context.h"

namespace hl {

void guard_scratch(bool on);
bool scratch_guarded();
// Whether what scratch_reserve() put around the scratch of these sizes is still there.
bool scratch_intact(const Ctx& ctx, int64_t shared_bytes, int64_t worker_bytes);

}  // namespace hl
