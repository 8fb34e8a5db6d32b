#pragma once
#include "bindings/common.h"
#include "kernels/adam.h"

namespace nerfcore {

inline void adam(Tensor& param, const Tensor& gradient, Tensor& first, Tensor& second, double rate, double beta1, double beta2,
                 double epsilon, double correct2) {
  for (const Tensor* t : {static_cast<const Tensor*>(&param), &gradient, static_cast<const Tensor*>(&first), static_cast<const Tensor*>(&second)})
    check_contiguous(*t, "adam input");
  NC_DISPATCH(param, "adam", [&] {
    Adam<scalar_t> p{{scalar_t(rate), scalar_t(beta1), scalar_t(beta2), scalar_t(epsilon), scalar_t(correct2)}, param.data_ptr<scalar_t>(), gradient.const_data_ptr<scalar_t>(),
                     first.data_ptr<scalar_t>(), second.data_ptr<scalar_t>()};
    NC_LAUNCH(adam, param, p, param.numel());
  });
}

inline void adam_touched(Tensor& param, Tensor& gradient, Tensor& touched, Tensor& first, Tensor& second, const std::optional<Tensor>& copy, double rate,
                         double beta1, double beta2, double epsilon, double correct2) {
  for (const Tensor* t : {&param, &gradient, &touched, &first, &second}) check_contiguous(*t, "adam input");
  if (copy) check_contiguous(*copy, "copy");
  const HalfCopy half{copy ? copy->data_ptr() : nullptr, storage_of(copy ? *copy : param, param)};
  NC_DISPATCH(param, "adam_touched", [&] {
    scalar_t* g = gradient.data_ptr<scalar_t>();
    AdamTouched<scalar_t> p{{{scalar_t(rate), scalar_t(beta1), scalar_t(beta2), scalar_t(epsilon), scalar_t(correct2)}, param.data_ptr<scalar_t>(), g, first.data_ptr<scalar_t>(),
                             second.data_ptr<scalar_t>()}, g, touched.data_ptr<uint8_t>(), int(param.size(1)), half};
    NC_LAUNCH(adam_touched, param, p, param.size(0));
  });
}

inline void register_adam(torch::Library& m) {
  m.def("adam(Tensor(a!) param, Tensor gradient, Tensor(b!) first, Tensor(c!) second, float rate, float beta1, float beta2, "
        "float epsilon, float correct2) -> ()", &adam);
  m.def("adam_touched(Tensor(a!) param, Tensor(b!) gradient, Tensor(c!) touched, Tensor(d!) first, Tensor(e!) second, Tensor(f!)? copy, "
        "float rate, float beta1, float beta2, float epsilon, float correct2) -> ()", &adam_touched);
}

}  // namespace nerfcore
