/* Elementary functions under names for both precisions; NAME(exp) is that of the precision `real`. */
#ifndef GEOFOLD_PRECISION_H
#define GEOFOLD_PRECISION_H

#include "elementary.h"

#define SHORTEST 1e-9 /* axis of a torsion */

static inline float exp_single(float x) { return exponential(x); }
static inline float log_single(float x) { return logarithm(x); }
static inline float sqrt_single(float x) { return sqrtf(x); }
static inline double exp_double(double x) { return exp(x); }
static inline double log_double(double x) { return log(x); }
static inline double sqrt_double(double x) { return sqrt(x); }

#endif
