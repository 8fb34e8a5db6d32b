#pragma once
#include "core/half.h"
#include "math/adam.h"

namespace nerfcore {

template <class T> struct Adam {
  const double* scales;  // [2] rate and correct2 of AdamStep, beside param: a step recorded in a CUDA graph is given others each time
  T beta1, beta2, epsilon;
  T* param;          // [N] updated
  const T* gradient; // [N]
  T* first;          // [N] first moment, updated
  T* second;         // [N] second moment, updated

  NC_HD AdamStep<T> step() const { return {T(scales[0]), beta1, beta2, epsilon, T(scales[1])}; }
  NC_HD void operator()(int64_t i) const { adam_update(step(), param + i, gradient[i], first + i, second + i); }
};

// The table once more in half precision, for those who read it; float alone has one.
struct HalfCopy {
  void* values;  // [entries, F], or null
  Storage storage;

  NC_HD void write(int64_t i, float x) const {
    if (!values) return;
    if (storage == Storage::kFloat16) narrow(x, static_cast<Float16*>(values) + i);
    else narrow(x, static_cast<Bfloat16*>(values) + i);
  }
  NC_HD void write(int64_t, double) const {}
};

// The same for a table of which few entries have a gradient. It clears what it used: afterwards gradient and touched are zero.
template <class T> struct AdamTouched {
  Adam<T> adam;      // param, first, second: [entries, F]
  T* gradient;       // [entries, F], zero where not touched; cleared
  uint8_t* touched;  // [entries]; cleared
  int features;      // F
  HalfCopy copy;     // of param, kept up with it

  NC_HD void operator()(int64_t entry) const {
    if (!touched[entry]) return;
    touched[entry] = 0;
    for (int64_t i = entry * features; i < (entry + 1) * features; ++i) update(i);
  }
  NC_HD void update(int64_t i) const {
    adam(i);
    copy.write(i, adam.param[i]);
    gradient[i] = T(0);
  }
};

template <class T> void adam_cpu(const Adam<T>& params, int64_t n, int threads);
template <class T> void adam_cuda(const Adam<T>& params, int64_t n, void* stream);
template <class T> void adam_touched_cpu(const AdamTouched<T>& params, int64_t num_entries, int threads);
template <class T> void adam_touched_cuda(const AdamTouched<T>& params, int64_t num_entries, void* stream);

}  // namespace nerfcore
