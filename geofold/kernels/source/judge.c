/* Ranking by the judge, the inverse-folding network.

   The plain references are geofold/learn/judge/graph.py and encoder.py. K candidates, L residues of the loop, E of the
   environment, H channels of residues, D of edges. Lengths in A. */
#include "precision.h"

#define ATOMS 5          /* N, CA, C, O and CB */
#define PAIRS (ATOMS * ATOMS)
#define PADDED 32        /* a multiple of the lanes, at least PAIRS */
#define FIRST_CENTRE 2.5 /* of the radial basis */
#define SPACING (13.5 / 11)
#define MARGIN 3         /* rows of zeros before and after the centres of a pair */
#define ROWS (12 + 2 * MARGIN)
#define BLUNT 1e-6       /* added to squared distances */
#define UNIT 10          /* of the vectors between CA atoms */
#define FRAME 15         /* features of an edge besides distances */
#define TORSIONS 6       /* features of a residue */
#define MAX_OFFSET 16    /* separations from which all residues count as equally far */
#define EPSILON 1e-5     /* of the layer norms */

typedef struct {
    int64_t residues, length, width, message, rounds, neighbours;
    const int64_t *number, *place; /* (E) and (L), along the chain */
    const double *beta;            /* (3): coefficients of CB */
    /* (E, 15), (E, 9), (2, 4, 3), (rounds + 1, E, D), and the weights in the order of their use */
    const void *atoms, *axes, *anchors, *sent, *weights;
} Judge;

#define real float
#define NAME(name) name##_single
#include "judge.h"
#undef real
#undef NAME
#define real double
#define NAME(name) name##_double
#include "judge.h"
