// Derivatives of whatever is written for numbers: mathematics evaluated on duals gives its derivative along one direction, an adjoint
// evaluated on them the derivative of the adjoint. That is how second derivatives come about: no formula of theirs is written down.
#pragma once
#include "core/lanes.h"

namespace nerfcore {

// A number, or a SIMD vector of them, and its derivative along the direction.
template <class V> struct Dual {
  V value, slope;
};
template <class V> struct Lane<Dual<V>> {
  using Element = nerfcore::Element<V>;
};

template <class V> NC_HD Dual<V> operator+(Dual<V> a, Dual<V> b) { return {a.value + b.value, a.slope + b.slope}; }
template <class V> NC_HD Dual<V> operator-(Dual<V> a, Dual<V> b) { return {a.value - b.value, a.slope - b.slope}; }
template <class V> NC_HD Dual<V> operator*(Dual<V> a, Dual<V> b) { return {a.value * b.value, a.value * b.slope + a.slope * b.value}; }
template <class V> NC_HD Dual<V> operator-(Element<V> a, Dual<V> b) { return {a - b.value, -b.slope}; }
template <class V> NC_HD Dual<V> operator-(Dual<V> a, Element<V> b) { return {a.value - b, a.slope}; }
template <class V> NC_HD Dual<V> operator*(Element<V> a, Dual<V> b) { return {a * b.value, a * b.slope}; }
template <class V> NC_HD Dual<V>& operator+=(Dual<V>& a, Dual<V> b) { return a = a + b; }
template <class V> NC_HD Dual<V>& operator-=(Dual<V>& a, Dual<V> b) { return a = a - b; }

}  // namespace nerfcore
