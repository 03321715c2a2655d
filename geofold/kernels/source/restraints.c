/* Ramachandran penalty and contacts: values and gradients.

   The plain references are geofold/molecule/energy/ramachandran_density.py, geofold/molecule/peptide/contacts.py and
   contact_tensors.py. */
#include "contacts.h"

typedef struct {
    int64_t residues, bins, padded;
    double per_knot;                       /* knots per radian */
    const double *start;                   /* (2, L): phi and psi of the input, in knots */
    const int64_t *torsion;                /* (2, L): torsions that turn them, -1 for fixed ones */
    const int64_t *residue, *corner;       /* (L): residue; offset of the class's map */
    const double *maps, *core, *gap;       /* padded maps; (L), (L): levels, see `RamachandranDensity` */
    const double *basis;                   /* (4, 8) */
} Torsions;

/* Penalty of one residue and its derivatives by phi and psi, in knots. */
static double penalise(const Torsions *at, int64_t k, const double *knot, double *slope) {
    int64_t cell[2];
    double weight[2][8];
    for (int e = 0; e < 2; e++) {
        double below = floor(knot[e]), t = knot[e] - below, power[4] = {1, t, t * t, t * t * t};
        cell[e] = (int64_t)fmod(below, (double)at->bins);
        if (cell[e] < 0) cell[e] += at->bins;
        for (int w = 0; w < 8; w++)
            weight[e][w] = power[0] * at->basis[w] + power[1] * at->basis[8 + w] + power[2] * at->basis[16 + w]
                         + power[3] * at->basis[24 + w];
    }
    const double *map = at->maps + at->corner[k] + cell[0] * at->padded + cell[1];
    double value = 0, by_phi = 0, by_psi = 0;
    for (int i = 0; i < 4; i++) {
        double along = 0, turned = 0;
        for (int j = 0; j < 4; j++) {
            along += map[i * at->padded + j] * weight[1][j];
            turned += map[i * at->padded + j] * weight[1][4 + j];
        }
        value += weight[0][i] * along;
        by_psi += weight[0][i] * turned;
        by_phi += weight[0][4 + i] * along;
    }
    double beyond = (at->core[k] - value) / at->gap[k];
    beyond = beyond > 0 || isnan(beyond) ? beyond : 0;
    double u = beyond < 1 || isnan(beyond) ? beyond : 1, depth = u * u * (4 * u - 6) / at->gap[k];
    slope[0] = depth * by_phi;
    slope[1] = depth * by_psi;
    return u * u * u * (2 - u) + 2 * (beyond - u);
}

/* Weighted penalty (B) of angles (B, n) plus increments (B, n) with rows `stride` apart.

   gradient: (B, n), rows `gradient_stride` apart; share (B, shares) or NULL; both are added to. */
int ramachandran(const Torsions *at, int64_t rows, int64_t n, const double *angle, const double *increment,
                 int64_t stride, double weight, double *penalty, double *gradient, int64_t gradient_stride,
                 double *share, int64_t shares) {
    for (int64_t b = 0; b < rows; b++) {
        penalty[b] = 0;
        for (int64_t k = 0; k < at->residues; k++) {
            double knot[2], slope[2];
            for (int e = 0; e < 2; e++) {
                int64_t j = at->torsion[e * at->residues + k];
                knot[e] = at->start[e * at->residues + k];
                if (j >= 0) knot[e] += at->per_knot * (angle[b * n + j] + increment[b * stride + j]);
            }
            if (!isfinite(knot[0]) || !isfinite(knot[1])) {
                penalty[b] = NAN;
                continue;
            }
            double value = weight * penalise(at, k, knot, slope);
            penalty[b] += value;
            if (share) share[b * shares + at->residue[k]] += value;
            for (int e = 0; e < 2; e++) {
                int64_t j = at->torsion[e * at->residues + k];
                if (j >= 0) gradient[b * gradient_stride + j] += weight * at->per_knot * slope[e];
            }
        }
    }
    return 0;
}

/* Weighted cost (B) and largest violation (B) of contacts of xyz (B, m, 3), rows `stride` apart; the gradient (B, m, 3),
   rows `gradient_stride` apart, is added to. */
int contacts(const Contacts *at, int64_t rows, const double *xyz, int64_t stride, double weight, double *cost,
             double *violation, double *gradient, int64_t gradient_stride) {
    for (int64_t b = 0; b < rows; b++) {
        const double *x = xyz + b * stride;
        double *to = gradient + b * gradient_stride, vector[3];
        cost[b] = violation[b] = 0;
        for (int64_t c = 0; c < at->count; c++) {
            double gap = contact_vector(at, c, x, vector), missing = (gap - at->bound[c]) * at->sign[c];
            double excess = (gap - at->aim[c]) * at->sign[c];
            if (missing > violation[b] || isnan(missing)) violation[b] = missing;
            if (isnan(excess)) cost[b] = NAN;
            if (!(excess > 0)) continue;
            double ratio = excess / at->scale / at->softening, root = sqrt(1 + ratio * ratio);
            double square = 2 * at->softening * at->softening;
            cost[b] += weight * (root * square - square);
            double pull = weight * at->sign[c] * (excess * 2 / (at->scale * at->scale) / root) / gap;
            for (int k = 0; k < 3; k++) {
                if (at->i[c] < at->local) to[3 * at->i[c] + k] += pull * vector[k];
                if (at->j[c] < at->local) to[3 * at->j[c] + k] -= pull * vector[k];
            }
        }
    }
    return 0;
}

/* Directions (c, B, width) along which contacts are stiff, scaled by the root of their curvature; `out` is zero, and
   coordinates begin at `first` in each row. Returns `STIFF` if there is one, otherwise zero. */
#define STIFF 2

int stiff_contacts(const Contacts *at, int64_t rows, const double *xyz, int64_t stride, double weight, int64_t width,
                   int64_t first, double *out) {
    int any = 0;
    for (int64_t c = 0; c < at->count; c++)
        for (int64_t b = 0; b < rows; b++) {
            double vector[3], gap = contact_vector(at, c, xyz + b * stride, vector);
            double excess = (gap - at->aim[c]) * at->sign[c];
            if (!(excess > -at->band)) continue;
            double ratio = fmax(excess, 0) / (at->scale * at->softening), root = 1 + ratio * ratio;
            double size = sqrt(weight * 2 / (at->scale * at->scale) / (root * sqrt(root)));
            double *to = out + (c * rows + b) * width + first;
            any |= size > 0;
            for (int k = 0; k < 3; k++) {
                if (at->i[c] < at->local) to[3 * at->i[c] + k] = size / gap * vector[k];
                if (at->j[c] < at->local) to[3 * at->j[c] + k] = -size / gap * vector[k];
            }
        }
    return any ? STIFF : 0;
}
