#pragma once
#include "bindings/common.h"
#include "kernels/adam.h"

namespace nerfcore {

inline void adam(Tensor& param, const Tensor& gradient, Tensor& first, Tensor& second, double rate, double beta1, double beta2,
                 double epsilon, double correct2) {
  for (const Tensor* t : {static_cast<const Tensor*>(&param), &gradient, static_cast<const Tensor*>(&first), static_cast<const Tensor*>(&second)})
    check_contiguous(*t, "adam input");
  NC_DISPATCH(param, "adam", [&] {
    Adam<scalar_t> p{{rate, beta1, beta2, epsilon, correct2}, param.data_ptr<scalar_t>(), gradient.const_data_ptr<scalar_t>(),
                     first.data_ptr<scalar_t>(), second.data_ptr<scalar_t>()};
    NC_LAUNCH(adam, param, p, param.numel());
  });
}

inline void register_adam(torch::Library& m) {
  m.def("adam(Tensor(a!) param, Tensor gradient, Tensor(b!) first, Tensor(c!) second, float rate, float beta1, float beta2, "
        "float epsilon, float correct2) -> ()", &adam);
}

}  // namespace nerfcore
