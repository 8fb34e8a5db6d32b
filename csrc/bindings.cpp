// The only translation unit that sees torch (its headers cost ten seconds a file): every schema is registered here.
#include "bindings/adam.h"
#include "bindings/bvh.h"
#include "bindings/composite.h"
#include "bindings/distortion.h"
#include "bindings/hash_grid.h"
#include "bindings/interlevel.h"
#include "bindings/intersect.h"
#include "bindings/march.h"
#include "bindings/marching_cubes.h"
#include "bindings/mlp.h"
#include "bindings/multilinear.h"
#include "bindings/ngp.h"
#include "bindings/occupancy.h"
#include "bindings/pdf.h"
#include "bindings/spherical_harmonics.h"

TORCH_LIBRARY(nerfcore, library) {
  nerfcore::Operations m(library);
  nerfcore::register_adam(m);
  nerfcore::register_bvh(m);
  nerfcore::register_composite(m);
  nerfcore::register_distortion(m);
  nerfcore::register_hash_grid(m);
  nerfcore::register_interlevel(m);
  nerfcore::register_intersect(m);
  nerfcore::register_march(m);
  nerfcore::register_marching_cubes(m);
  nerfcore::register_mlp(m);
  nerfcore::register_multilinear(m);
  nerfcore::register_ngp(m);
  nerfcore::register_occupancy(m);
  nerfcore::register_pdf(m);
  nerfcore::register_spherical_harmonics(m);
}
