/* Torsion trees and small vector algebra, shared by the kernels.

   Arrays are contiguous, lengths in nm, angles in radian. B rows, n torsions, m local atoms, r closure conditions,
   d latent dimensions. Torsions are numbered so that a parent comes before its children; -1 is no parent.
   A frame is a rotation, row by row, and a translation: 12 numbers. */
#ifndef GEOFOLD_TREE_H
#define GEOFOLD_TREE_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CONDITIONS 64  /* of closure: six for an anchor, the others for links */
#define ORIENTATION_ARM 0.15
#define CLOSURE_TOLERANCE 1e-8
#define NEWTON_STEPS 10
#define RANK_TOLERANCE 1e-6
#define INVERSE_TOLERANCE 1e-9

typedef struct {
    int64_t n, m;
    const int64_t *near, *far, *body, *parent;  /* (n), (n), (m) with n for fixed atoms, (n) */
} Tree;

typedef struct {
    int64_t end, anchor, pairs;  /* torsion at the anchor or -1, local row of the anchor's CA, number of pairs */
    const int64_t *pair;         /* (pairs, 2) */
} Closure;

static inline int64_t conditions(const Closure *c) { return (c->end >= 0 ? 6 : 0) + c->pairs; }

static inline void cross(const double *a, const double *b, double *out) {
    out[0] = a[1] * b[2] - a[2] * b[1];
    out[1] = a[2] * b[0] - a[0] * b[2];
    out[2] = a[0] * b[1] - a[1] * b[0];
}

static inline double dot3(const double *a, const double *b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

static inline double dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t k = 0; k < n; k++) sum += a[k] * b[k];
    return sum;
}

/* Image of a point in a frame. */
static inline void transform(const double *frame, const double *x, double *out) {
    for (int k = 0; k < 3; k++) out[k] = dot3(frame + 3 * k, x) + frame[9 + k];
}

/* Image of a local atom, given the frames (n, 12) of the torsions. */
static inline void transform_atom(const Tree *tree, const double *frames, const double *xyz, int64_t atom, double *out) {
    int64_t body = tree->body[atom];
    if (body < tree->n) transform(frames + 12 * body, xyz + 3 * atom, out);
    else memcpy(out, xyz + 3 * atom, 3 * sizeof(double));
}

void tree_frames(const Tree *tree, const double *xyz, const double *theta, double *frames);
void tree_screws(const Tree *tree, const double *xyz, const double *frames, double *screws);
void closure_rates(const Tree *tree, const Closure *closure, const double *xyz, const double *frames,
                   const double *screws, double *rates);
void pseudo_inverse(int64_t size, const double *matrix, double *inverse);
int64_t orthonormal_rows(int64_t rows, int64_t n, double *matrix, double tolerance);

#endif
