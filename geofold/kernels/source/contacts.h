/* Contacts of a goal, as their cost and their features read them. */
#ifndef GEOFOLD_CONTACTS_H
#define GEOFOLD_CONTACTS_H

#include "tree.h"

typedef struct {
    int64_t count, local;                /* contacts, local atoms m */
    const int64_t *i, *j;                /* (c): local rows, then those of fixed atoms */
    const double *fixed;                 /* (k, 3) */
    const double *bound, *aim, *sign;    /* (c) */
    double scale, softening, band, offset;  /* see contacts.py */
} Contacts;

/* Coordinates of an end of a contact: of a local atom, or of a fixed one. */
static inline const double *contact_end(const Contacts *at, int64_t row, const double *xyz) {
    return row < at->local ? xyz + 3 * row : at->fixed + 3 * (row - at->local);
}

/* Vector from the second to the first atom, and its length. */
static inline double contact_vector(const Contacts *at, int64_t c, const double *xyz, double *out) {
    const double *p = contact_end(at, at->i[c], xyz), *q = contact_end(at, at->j[c], xyz);
    for (int k = 0; k < 3; k++) out[k] = p[k] - q[k];
    return sqrt(dot3(out, out) + at->offset);
}

#endif
