/* Generalised Born solvation (OBC2 with a surface term: Onufriev, Bashford and Case, Proteins 55, 383, 2004).

   The plain reference is OpenMM's GBSAOBCForce; see geofold/molecule/energy/born.py. p particles, B conformations. */
#include "precision.h"

#define LANES 16       /* partial sums */
#define OFFSET 0.009   /* of the radius (nm) */
#define PROBE 0.14     /* radius of a water molecule (nm) */
#define ALPHA 1.0
#define BETA 0.8
#define GAMMA 4.85

typedef struct {
    int64_t count;
    double prefactor, surface;               /* kJ nm/mol/e^2, and kJ/mol/nm^2 over the whole sphere */
    const double *charge, *radius, *scale;   /* (p): e, nm, 1 */
} Born;

#define real float
#define NAME(name) name##_single
#include "born.h"
#undef real
#undef NAME
#define real double
#define NAME(name) name##_double
#include "born.h"
