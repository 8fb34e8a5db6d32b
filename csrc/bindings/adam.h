#pragma once
#include "bindings/common.h"
#include "kernels/adam.h"

namespace nerfcore {

template <class T> Adam<T> adam_params(const Tensor& param, const Tensor& gradient, const Tensor& first, const Tensor& second,
                                       const Tensor& scales, double beta1, double beta2, double epsilon) {
  for (const Tensor* t : {&param, &gradient, &first, &second, &scales}) check_contiguous(*t, "adam input");
  return {scales.const_data_ptr<double>(), T(beta1), T(beta2), T(epsilon), param.data_ptr<T>(), gradient.const_data_ptr<T>(),
          first.data_ptr<T>(), second.data_ptr<T>()};
}

inline void adam(Tensor& param, const Tensor& gradient, Tensor& first, Tensor& second, const Tensor& scales, double beta1, double beta2,
                 double epsilon) {
  NC_DISPATCH(param, "adam", [&] {
    NC_LAUNCH(adam, param, adam_params<scalar_t>(param, gradient, first, second, scales, beta1, beta2, epsilon), param.numel());
  });
}

inline void adam_touched(Tensor& param, Tensor& gradient, Tensor& touched, Tensor& first, Tensor& second, const std::optional<Tensor>& copy,
                         const Tensor& scales, double beta1, double beta2, double epsilon) {
  check_contiguous(touched, "touched");
  if (copy) check_contiguous(*copy, "copy");
  const HalfCopy half{copy ? copy->data_ptr() : nullptr, storage_of(copy ? *copy : param, param)};
  NC_DISPATCH(param, "adam_touched", [&] {
    const AdamTouched<scalar_t> p{adam_params<scalar_t>(param, gradient, first, second, scales, beta1, beta2, epsilon),
                                  gradient.data_ptr<scalar_t>(), touched.data_ptr<uint8_t>(), int(param.size(1)), half};
    NC_LAUNCH(adam_touched, param, p, param.size(0));
  });
}

inline void register_adam(Operations& m) {
  m.def("adam(Tensor(a!) param, Tensor gradient, Tensor(b!) first, Tensor(c!) second, Tensor scales, float beta1, "
        "float beta2, float epsilon) -> ()", &adam);
  m.def("adam_touched(Tensor(a!) param, Tensor(b!) gradient, Tensor(c!) touched, Tensor(d!) first, Tensor(e!) second, Tensor(f!)? copy, "
        "Tensor scales, float beta1, float beta2, float epsilon) -> ()", &adam_touched);
}

}  // namespace nerfcore
