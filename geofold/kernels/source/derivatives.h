/* An expansion of the decoder around a latent, as its derivatives read it. */
#ifndef GEOFOLD_DERIVATIVES_H
#define GEOFOLD_DERIVATIVES_H

#include "tree.h"

typedef struct {
    const Tree *tree;
    const Closure *closure;
    int64_t rows, d;
    double limit;
    const double *xyz, *mobility, *normal, *basis, *free, *frames, *mean;  /* as for `decode` */
    double *screws, *rates, *correction;  /* (B, n, 6), (B, r, n), (B, n, r): results of `expand` */
} Expansion;

/* One row of an expansion: the cap acts if `over`, and `lead` is then the largest increment. */
typedef struct {
    int64_t n, m, r, lead, over;
    double scale, largest, sign;
    const double *mobility, *normal, *free, *moved, *screws, *rates, *correction;
} Row;

static inline Row row_of(const Expansion *at, int64_t b) {
    int64_t n = at->tree->n, m = at->tree->m, r = conditions(at->closure);
    Row row = {n, m, r, 0, 0, 1, 0, 0, at->mobility, at->normal + b * n * r, at->free + b * n,
               at->mean + b * (n + 3 * m) + n, at->screws + 6 * b * n, at->rates + b * r * n,
               at->correction + b * n * r};
    for (int64_t j = 0; j < n; j++)
        if (fabs(row.free[j]) > row.largest) {
            row.largest = fabs(row.free[j]);
            row.lead = j;
        }
    row.over = row.largest > at->limit;
    if (row.over) row.scale = at->limit / row.largest;
    row.sign = n && row.free[row.lead] < 0 ? -1 : 1;
    return row;
}

#endif
