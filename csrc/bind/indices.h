// Index arrays: int64 as the kernels want them, in range as the kernels trust them.
#pragma once

#include <string>
#include <vector>

#include "bind/array.h"

namespace hl::bind {

// The elements of an int64 or int32 array in C order; copied only if they are not stored so.
class Indices {
 public:
  explicit Indices(const Array& a) : array_(a), count_(a.size()) {
    a.require_index();
    if (a.dtype == DType::kInt64 && a.contiguous()) {
      data_ = a.as<const int64_t>();
    } else {
      copy_.resize(size_t(count_));
      if (a.dtype == DType::kInt64) {
        gather<int64_t>();
      } else {
        gather<int32_t>();
      }
      data_ = copy_.data();
    }
  }
  const int64_t* data() const { return data_; }
  int64_t count() const { return count_; }

  // ValueError naming the first index outside [0, n).
  const Indices& require_range(int64_t n) const {
    for (int64_t i = 0; i < count_; ++i) {
      if (uint64_t(data_[i]) >= uint64_t(n)) {
        std::string at;
        int64_t rest = i;
        for (int d = array_.ndim - 1; d >= 0; --d) {
          at = std::to_string(rest % array_.shape[d]) + (at.empty() ? "" : ", ") + at;
          rest /= array_.shape[d];
        }
        value_error(array_.op, std::string(array_.name) + "[" + at + "] is " +
                                   std::to_string(data_[i]) + ", expected 0 <= index < " +
                                   std::to_string(n));
      }
    }
    return *this;
  }

 private:
  template <class I>
  void gather() {
    std::vector<int64_t> at(size_t(array_.ndim), 0);
    const char* p = static_cast<const char*>(array_.data);
    for (int64_t i = 0; i < count_; ++i) {
      copy_[size_t(i)] = *reinterpret_cast<const I*>(p);
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
  std::vector<int64_t> copy_;
};

}  // namespace hl::bind
