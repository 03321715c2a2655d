/* Features of the loop model at one residue of a loop.

   The plain reference is geofold/learn/loop_denoiser/features.py. B rows, S residues with their flanks, E other atoms, F
   features. Lengths in A. */
#include "precision.h"

#define ATOMS 5 /* N, CA, C, O and CB */
#define SHELLS 3
#define SCALE 10       /* length by which lengths are divided */
#define SHORTEST_ARM 0.1
#define PLACES 5       /* features of the place in the loop */

static const double contact[ATOMS] = {3.1, 3.6, 3.6, 3.1, 3.6}; /* distance below which an atom overlaps */
static const double radii[SHELLS] = {5, 8, 11}, typical[SHELLS] = {12, 60, 150};

typedef struct {
    int64_t residues, flank, half, alphabet, others, innovations, features;
    const double *beta; /* (3): coefficients of CB */
} Window;

#define real float
#define NAME(name) name##_single
#include "window.h"
#undef real
#undef NAME
#define real double
#define NAME(name) name##_double
#include "window.h"
