/* The learned potential of loops.

   The plain references are geofold/learn/loop_score/features.py and model.py. K candidates, L residues of the loop, N of
   the protein. Lengths in A. */
#include "precision.h"

#define MOST 32           /* neighbours of a residue */
#define CUTOFF 14         /* distance between CB atoms beyond which a neighbour is ignored */
#define CENTRES 13        /* Gaussians that encode a distance, of width 1, from FIRST_CENTRE */
#define FIRST_CENTRE 2
#define PAIR (4 * 3 + 9 + 4 * CENTRES)  /* features that depend on the conformation of a pair */
#define FLAGS 16          /* kinds of a pair: eight separations in sequence, inside or outside the loop */
#define BESIDE 5          /* features of a neighbour */
#define OWN 9             /* features of a residue of the loop */
#define N_H 1.01
#define NEAREST 0.8       /* distance below which the energy of a hydrogen bond stays constant */
#define COULOMB 27.9
#define WEAKEST (-0.5)
#define STRONGEST (-3.5)

static const double radii[3] = {8, 10, 14};

typedef struct {
    int64_t residues, first, length, width, convolutions, networks, block;
    const int64_t *number, *donates;  /* (N) */
    const double *beta;               /* (3): coefficients of CB */
    const void *xyz, *weights;        /* (N, 4, 3); `block` numbers for each network, in the order of `network` */
} Score;

#define real float
#define NAME(name) name##_single
#include "score.h"
#undef real
#undef NAME
#define real double
#define NAME(name) name##_double
#include "score.h"
