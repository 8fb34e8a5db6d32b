// Addition that many device threads may do to one address at once.
#pragma once

namespace nerfcore {

#ifdef __CUDACC__
template <class T> __device__ __forceinline__ void atomic_add(T* target, T value) { atomicAdd(target, value); }
#endif

}  // namespace nerfcore
