/* Overlaps between heavy atoms: their cost, its gradient, and its share of each residue.

   The plain references are in geofold/molecule/energy: clash_cost.py and sterics.py. m' local heavy atoms, then e fixed
   ones; w = m' + e. */
#include "tree.h"

#define LANES 16  /* atoms that are screened at once */

typedef struct {
    double tolerance, scale, softening, severe, offset;  /* see clash_cost.py */
} Shape;

/* Sums of one row: cost, largest excess over a severe overlap, gradient by local atom, share by residue (or NULL). */
typedef struct {
    const Shape *shape;
    const int64_t *local, *owner;  /* local row of each of the m' atoms; residue of each of the w atoms */
    int64_t inside, residues;
    double weight, cost, worst, *gradient, *share;
} Sums;

static inline void add_pair(Sums *sums, int64_t i, int64_t j, const double *separation, double contact) {
    const Shape *shape = sums->shape;
    double distance = sqrt(dot3(separation, separation) + shape->offset), overlap = contact - distance;
    double excess = (overlap - shape->tolerance) / shape->scale;
    if (!(excess > 0)) return;
    double ratio = excess / shape->softening, root = sqrt(ratio * ratio + 1);
    double cost = sums->weight * (root - 1) * (2 * shape->softening * shape->softening);
    double pull = sums->weight * excess / (root * distance) * (-2 / shape->scale);
    sums->cost += cost;
    sums->worst = fmax(sums->worst, overlap - shape->severe);
    for (int k = 0; k < 3; k++) {
        sums->gradient[3 * sums->local[i] + k] += pull * separation[k];
        if (j < sums->inside) sums->gradient[3 * sums->local[j] + k] -= pull * separation[k];
    }
    if (!sums->share) return;
    if (sums->owner[i] < sums->residues) sums->share[sums->owner[i]] += cost;
    if (sums->owner[j] < sums->residues) sums->share[sums->owner[j]] += cost;
}

/* Add all overlaps of a complete table of pairs: `limit` and `contact` (m', w), see `Sterics.screen_limit`. */
static void add_table(Sums *sums, const double *xyz, const double *fixed, int64_t atoms, const float *limit,
                      const double *contact, float *x) {
    int64_t inside = sums->inside, wide = (atoms + LANES - 1) / LANES * LANES;
    float *y = x + wide, *z = y + wide;
    const double *origin = xyz + 3 * sums->local[0];
    for (int64_t a = 0; a < wide; a++) {
        const double *from = a < inside ? xyz + 3 * sums->local[a] : a < atoms ? fixed + 3 * (a - inside) : origin;
        x[a] = (float)(from[0] - origin[0]);
        y[a] = (float)(from[1] - origin[1]);
        z[a] = (float)(from[2] - origin[2]);
    }
    for (int64_t i = 0; i < inside; i++) {
        const float *bound = limit + i * wide;
        for (int64_t start = (i + 1) / LANES * LANES; start < atoms; start += LANES) {
            int hit = 0;
            for (int64_t a = start; a < start + LANES; a++) {
                float dx = x[a] - x[i], dy = y[a] - y[i], dz = z[a] - z[i];
                hit |= dx * dx + dy * dy + dz * dz < bound[a];
            }
            if (!hit) continue;
            for (int64_t a = start; a < start + LANES && a < atoms; a++) {
                float dx = x[a] - x[i], dy = y[a] - y[i], dz = z[a] - z[i];
                if (!(dx * dx + dy * dy + dz * dz < bound[a])) continue;
                const double *p = xyz + 3 * sums->local[i];
                const double *q = a < inside ? xyz + 3 * sums->local[a] : fixed + 3 * (a - inside);
                double separation[3] = {p[0] - q[0], p[1] - q[1], p[2] - q[2]};
                add_pair(sums, i, a, separation, contact[i * atoms + a]);
            }
        }
    }
}

/* Clashes of coordinates xyz (B, m, 3), rows `stride` numbers apart, by a complete table or a list of pairs.

   Table: limit (m', w rounded up to LANES) in single precision, contact (m', w). List: first, second, contact (p), of
   which `inner` are local, and the fixed atoms (p - inner, 3) of the others. weight (B); out: cost, worst (B), gradient (B,
   m, 3) with rows `gradient_stride` apart, and share (B, L) or NULL, both of which are added to. */
int clashes(const Shape *shape, int64_t rows, const double *xyz, int64_t stride, int64_t inside, const int64_t *local,
            int64_t atoms, const double *fixed, const float *limit, const double *contact, int64_t pairs,
            int64_t inner, const int64_t *first, const int64_t *second, const double *weight, const int64_t *owner, int64_t residues,
            double *cost, double *worst, double *gradient, int64_t gradient_stride, double *share) {
    float *work = limit ? malloc(sizeof(float) * 3 * (atoms + LANES)) : NULL;
    if (limit && !work) return 1;
    for (int64_t b = 0; b < rows; b++) {
        const double *x = xyz + b * stride;
        Sums sums = {shape, local, owner, inside, residues, weight[b], 0, 0, gradient + b * gradient_stride,
                     share ? share + b * residues : NULL};
        if (limit && inside) add_table(&sums, x, fixed, atoms, limit, contact, work);
        for (int64_t p = 0; p < pairs; p++) {
            const double *from = x + 3 * local[first[p]];
            const double *to = p < inner ? x + 3 * local[second[p]] : fixed + 3 * (p - inner);
            double separation[3] = {from[0] - to[0], from[1] - to[1], from[2] - to[2]};
            double near = contact[p] - shape->tolerance;
            if (dot3(separation, separation) < near * near) add_pair(&sums, first[p], second[p], separation, contact[p]);
        }
        cost[b] = sums.cost;
        worst[b] = sums.worst;
    }
    free(work);
    return 0;
}

#define MOVED 2

/* `MOVED` if a local atom is further from its reference (B, m', 3) than the root of `limit`, otherwise zero. */
int displaced(int64_t rows, const double *xyz, int64_t stride, int64_t inside, const int64_t *local,
              const double *reference, double limit) {
    for (int64_t b = 0; b < rows; b++)
        for (int64_t a = 0; a < inside; a++) {
            const double *x = xyz + b * stride + 3 * local[a], *from = reference + 3 * (b * inside + a);
            double arm[3] = {x[0] - from[0], x[1] - from[1], x[2] - from[2]};
            if (dot3(arm, arm) > limit) return MOVED;
        }
    return 0;
}
