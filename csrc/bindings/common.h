// What every binding uses: checks, dtype dispatch, and the choice between the CPU and the CUDA launcher.
#pragma once
#include <ATen/Parallel.h>
#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include "core/half.h"

namespace nerfcore {

using at::Tensor;

inline void check_contiguous(const Tensor& t, const char* name) {
  TORCH_CHECK(t.is_contiguous(), "nerfcore: ", name, " must be contiguous");
}

// How `table` is stored, where numbers of the type of `like` are computed with.
inline Storage storage_of(const Tensor& table, const Tensor& like) {
  if (table.scalar_type() == like.scalar_type()) return Storage::kFull;
  TORCH_CHECK(like.scalar_type() == at::kFloat && (table.scalar_type() == at::kHalf || table.scalar_type() == at::kBFloat16), "nerfcore: a table beside ",
              like.scalar_type(), " is of the same type or, beside float32, float16 or bfloat16; got ", table.scalar_type());
  return table.scalar_type() == at::kHalf ? Storage::kFloat16 : Storage::kBfloat16;
}

inline int num_threads() { return at::get_num_threads(); }

// The current stream of the tensor's device, as a plain handle: no CUDA header is needed here.
inline void* current_stream(const Tensor& t) {
  c10::impl::VirtualGuardImpl impl(t.device().type());
  return impl.getStream(t.device()).native_handle();
}

// Where operations are registered. A function itself chooses by its tensors' device, so that one serves both; derivatives are made in
// nerfcore/ops, so that autograd has nothing to do here.
class Operations {
 public:
  explicit Operations(torch::Library& library) : library(library) {}

  template <class Function> void def(const std::string& schema, Function* function) {
    const std::string name = schema.substr(0, schema.find('('));
    library.def(schema.c_str());
    for (const c10::DispatchKey device : {c10::DispatchKey::CPU, c10::DispatchKey::CUDA})
      library.impl(name.c_str(), torch::dispatch(device, function));
    library.impl(name.c_str(), torch::dispatch(c10::DispatchKey::Autograd, torch::CppFunction::makeFallthrough()));
  }

 private:
  torch::Library& library;
};

}  // namespace nerfcore

// NC_LAUNCH(stem, tensor, params, args...): stem_cpu(params, args..., threads) or stem_cuda(params, args..., stream) by the tensor's device.
#ifdef NERFCORE_WITH_CUDA
#define NC_LAUNCH(stem, tensor, ...)                                      \
  do {                                                                    \
    if ((tensor).is_cuda()) {                                             \
      const c10::DeviceGuard guard((tensor).device());                    \
      stem##_cuda(__VA_ARGS__, nerfcore::current_stream(tensor));         \
    } else {                                                              \
      stem##_cpu(__VA_ARGS__, nerfcore::num_threads());                   \
    }                                                                     \
  } while (0)
#else
#define NC_LAUNCH(stem, tensor, ...)                                                                       \
  do {                                                                                                     \
    TORCH_CHECK((tensor).is_cpu(), "nerfcore: these kernels were built without CUDA; tensor is on ", (tensor).device()); \
    stem##_cpu(__VA_ARGS__, nerfcore::num_threads());                                                      \
  } while (0)
#endif

// Runs the body with `scalar_t` = float or double.
#define NC_DISPATCH(tensor, name, ...) AT_DISPATCH_FLOATING_TYPES((tensor).scalar_type(), name, __VA_ARGS__)
