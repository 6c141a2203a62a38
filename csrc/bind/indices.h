// Index arrays: int64 as the kernels want them, in range as the kernels trust them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bind/gpu.h"

namespace hl::bind {

// The elements of an int64 or int32 array in C order, on the device of the call; copied only if they
// are not stored so.
class Indices {
 public:
  explicit Indices(const Array& a) : array_(a), count_(a.size()) {
    a.require_index();
    if (a.dtype == DType::kInt64 && a.contiguous()) {
      data_ = a.as<const int64_t>();
      return;
    }
    host_.resize(size_t(count_));
    if (call_device() == kCpu) {
      a.dtype == DType::kInt64 ? gather<int64_t>() : gather<int32_t>();
      data_ = host_.data();
      return;
    }
    const py::object dense = a.contiguous() ? py::object() : copy_of(a);
    const Array from = dense ? Array(a.op, a.name, dense) : a;
    if (a.dtype == DType::kInt64) {
      kept_ = dense;
      copy_from(from, host_.data());
    } else {
      const OnHost<int32_t> few(from);
      for (int64_t i = 0; i < count_; ++i) host_[size_t(i)] = few[i];
      kept_ = new_array(a.op, DType::kInt64, a.dims());
      copy_to(Array(a.op, a.name, kept_), host_.data());
    }
    data_ = data_of<int64_t>(kept_);
  }
  const int64_t* data() const { return data_; }
  int64_t count() const { return count_; }

  // The same where the host can read them.
  const int64_t* on_host() const {
    if (call_device() == kCpu) return data_;
    if (host_.empty()) {
      host_.resize(size_t(count_));
      copy_from(array_, host_.data());
    }
    return host_.data();
  }

  // ValueError naming the first index outside [0, n).
  // In a graph, whose replays have other indices, the card looks at them: a wrong one counts as 0.
  const Indices& require_range(int64_t n) {
    if (guarded(n, 0)) return *this;
    const int64_t* index = on_host();
    for (int64_t i = 0; i < count_; ++i) {
      if (uint64_t(index[i]) >= uint64_t(n)) {
        std::string at;
        int64_t rest = i;
        for (int d = array_.ndim - 1; d >= 0; --d) {
          at = std::to_string(rest % array_.shape[d]) + (at.empty() ? "" : ", ") + at;
          rest /= array_.shape[d];
        }
        value_error(array_.op, std::string(array_.name) + "[" + at + "] is " +
                                   std::to_string(index[i]) + ", expected 0 <= index < " +
                                   std::to_string(n));
      }
    }
    return *this;
  }

  // Whether the card looks for indices that are neither in [0, n) nor `allowed`, and makes them that.
  bool guarded(int64_t n, int64_t allowed) {
    if (call_device() == kCpu || !capturing()) return false;
    const py::object safe = new_array(array_.op, DType::kInt64, array_.dims());
    guard_in_graph(array_.op, data_, count_, n, allowed, data_of<int64_t>(safe));
    kept_ = safe;
    data_ = data_of<int64_t>(kept_);
    return true;
  }

 private:
  template <class I>
  void gather() {
    std::vector<int64_t> at(size_t(array_.ndim), 0);
    const char* p = static_cast<const char*>(array_.data);
    for (int64_t i = 0; i < count_; ++i) {
      host_[size_t(i)] = *reinterpret_cast<const I*>(p);
      for (int d = array_.ndim - 1; d >= 0; --d) {
        p += array_.strides[d];
        if (++at[size_t(d)] < array_.shape[d]) break;
        p -= at[size_t(d)] * array_.strides[d];
        at[size_t(d)] = 0;
      }
    }
  }

  const Array& array_;
  int64_t count_;
  const int64_t* data_;
  py::object kept_;                    // what data_ points into on a GPU, where it is not array_
  mutable std::vector<int64_t> host_;  // a copy, where one was needed
};

}  // namespace hl::bind
