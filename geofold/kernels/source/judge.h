/* The judge in the precision `real`; included by judge.c once for each precision. */
#include "dense.h"
#include "vectors.h"

typedef struct {
    real *work, *atoms, *axes, *gap, *edges, *first, *second, *own, *sent, *total, *states, *final, *sender, *wide, *node;
} NAME(Desk);

/* Layer norm of rows in place; returns the weights after its own. */
static const real *NAME(norm)(int64_t rows, int64_t width, const real *weights, real *x) {
    for (int64_t b = 0; b < rows; b++, x += width) {
        real mean = 0, square = 0;
        for (int64_t w = 0; w < width; w++) mean += x[w];
        mean /= (real)width;
        for (int64_t w = 0; w < width; w++) square += (x[w] - mean) * (x[w] - mean);
        real scale = 1 / NAME(sqrt)(square / (real)width + (real)EPSILON);
        for (int64_t w = 0; w < width; w++) x[w] = (x[w] - mean) * scale * weights[w] + weights[width + w];
    }
    return weights + 2 * width;
}

/* y = x times a matrix, plus a bias that precedes it, plus `start` (rows, out) if there is one; returns what follows. */
static const real *NAME(layer)(int64_t rows, int64_t in, int64_t out, const real *x, const real *weights,
                               const real *start, real *y) {
    for (int64_t b = 0; b < rows; b++)
        for (int64_t w = 0; w < out; w++) y[b * out + w] = weights[w] + (start ? start[b * out + w] : 0);
    NAME(dense)(rows, in, out, x, in, weights + out, y);
    return weights + (in + 1) * out;
}

/* Atoms and axes of the loop of a candidate (L, 4, 3), and its torsions as features. */
static void NAME(loop)(const Judge *at, NAME(Desk) *s, const real *candidate) {
    const real *anchors = at->anchors, *before = anchors, *next = anchors + 12;
    for (int64_t i = 0; i < at->length; i++) {
        const real *x = candidate + 12 * i, *left = i ? x - 12 : before, *right = i + 1 < at->length ? x + 12 : next;
        real b[3], c[3], across[3], *atoms = s->atoms + 15 * i, *axes = s->axes + 9 * i, arms[6][3];
        const real *path[7] = {left + 3, left + 6, x, x + 3, x + 6, right}; /* CA, C, N, CA, C, N */
        for (int k = 0; k < 5; k++)
            for (int e = 0; e < 3; e++) arms[k][e] = path[k + 1][e] - path[k][e];
        for (int e = 0; e < 3; e++) {
            b[e] = arms[2][e];
            c[e] = arms[3][e];
        }
        NAME(cross)(b, c, across);
        memcpy(atoms, x, sizeof(real) * 12);
        for (int e = 0; e < 3; e++)
            atoms[12 + e] = (real)at->beta[0] * across[e] + (real)at->beta[1] * b[e] + (real)at->beta[2] * c[e] + x[3 + e];
        memcpy(axes, c, sizeof c);
        NAME(unit)(axes);
        real along = -NAME(dot)(b, axes);
        for (int e = 0; e < 3; e++) axes[3 + e] = -b[e] - along * axes[e];
        NAME(unit)(axes + 3);
        NAME(cross)(axes, axes + 3, axes + 6);
        real *node = s->node + TORSIONS * i;
        NAME(circle)(arms[1], arms[2], arms[3], node);     /* phi */
        NAME(circle)(arms[2], arms[3], arms[4], node + 2); /* psi */
        NAME(circle)(arms[0], arms[1], arms[2], node + 4); /* omega */
    }
}

/* Embed the edge from residue j to residue i of the loop, before its norm: y (D). */
static void NAME(edge)(const Judge *at, const NAME(Desk) *s, int64_t i, int64_t j, const real *restrict weights,
                       real *restrict y) {
    int64_t width = at->message, out = j >= at->residues;
    const real *own = s->atoms + 15 * i, *frame = s->axes + 9 * i;
    const real *other = out ? s->atoms + 15 * (j - at->residues) : (const real *)at->atoms + 15 * j;
    const real *turned = out ? s->axes + 9 * (j - at->residues) : (const real *)at->axes + 9 * j;
    int64_t offset = (out ? at->place[j - at->residues] : at->number[j]) - at->place[i];
    offset = offset > MAX_OFFSET ? MAX_OFFSET : offset < -MAX_OFFSET ? -MAX_OFFSET : offset;
    const real *table = weights + (PAIRS * ROWS + FRAME) * width;
    memcpy(y, table + (offset + MAX_OFFSET) * width, sizeof(real) * (size_t)width);
    real t[PADDED] = {0}, bumps[4][PADDED];
    for (int pair = 0; pair < PAIRS; pair++) {
        const real *p = own + 3 * (pair / ATOMS), *q = other + 3 * (pair % ATOMS);
        real v[3] = {p[0] - q[0], p[1] - q[1], p[2] - q[2]};
        t[pair] = NAME(dot)(v, v);
    }
    int32_t row[PADDED]; /* the first of the four centres within reach, after the margin */
    for (int pair = 0; pair < PADDED; pair++) {
        t[pair] = (NAME(sqrt)(t[pair] + (real)BLUNT) - (real)FIRST_CENTRE) * (real)(1 / SPACING);
        row[pair] = (int32_t)(t[pair] + MARGIN) - 1;
    }
    for (int k = 0; k < 4; k++)
        for (int pair = 0; pair < PADDED; pair++) {
            real u = (t[pair] - (real)(row[pair] + k - MARGIN)) / 2, rest = 1 - u * u;
            rest = rest > 0 ? rest : 0;
            bumps[k][pair] = rest * rest;
        }
    for (int pair = 0; pair < PAIRS; pair++) {
        if (t[pair] <= -2 || t[pair] >= 13) continue;
        const real *r0 = weights + (pair * ROWS + row[pair]) * width, *r1 = r0 + width, *r2 = r1 + width, *r3 = r2 + width;
        real b0 = bumps[0][pair], b1 = bumps[1][pair], b2 = bumps[2][pair], b3 = bumps[3][pair];
        for (int64_t w = 0; w < width; w++) y[w] += b0 * r0[w] + b1 * r1[w] + (b2 * r2[w] + b3 * r3[w]);
    }
    real v[3], features[FRAME];
    for (int e = 0; e < 3; e++) v[e] = (other[3 + e] - own[3 + e]) / UNIT;
    for (int e = 0; e < 3; e++) {
        features[e] = NAME(dot)(frame + 3 * e, v);
        features[3 + e] = -NAME(dot)(turned + 3 * e, v);
        for (int f = 0; f < 3; f++) features[6 + 3 * e + f] = NAME(dot)(frame + 3 * e, turned + 3 * f);
    }
    NAME(dense)(1, FRAME, width, features, FRAME, weights + PAIRS * ROWS * width, y);
}

/* One round of messages: from `states` to `updated` (L, H), by senders (L, H) of the loop; returns what follows. */
static const real *NAME(round)(const Judge *at, NAME(Desk) *s, int64_t round, const real *weights, const int64_t *index,
                               const int64_t *counts, const real *senders, const real *states, real *updated) {
    int64_t length = at->length, width = at->width, message = at->message, most = at->neighbours;
    const real *environment = (const real *)at->sent + round * at->residues * message;
    weights = NAME(layer)(length, width, message, states, weights, NULL, s->own);
    weights = NAME(layer)(length, width, message, senders, weights, NULL, s->sent);
    const real *edge = weights, *hidden = edge + message * message;
    memset(s->total, 0, sizeof(real) * (size_t)(length * message));
    for (int64_t i = 0; i < length; i++) {
        int64_t count = counts[i];
        const real *own = s->own + i * message;
        for (int64_t e = 0; e < count; e++) {
            int64_t j = index[i * most + e], inside = j - at->residues;
            const real *sent = inside < 0 ? environment + j * message : s->sent + inside * message;
            for (int64_t w = 0; w < message; w++) s->first[e * message + w] = own[w] + sent[w];
        }
        NAME(dense)(count, message, message, s->edges + i * most * message, message, edge, s->first);
        NAME(silu_all)(count * message, s->first);
        NAME(layer)(count, message, message, s->first, hidden, NULL, s->second);
        NAME(silu_all)(count * message, s->second);
        for (int64_t e = 0; e < count; e++)
            for (int64_t w = 0; w < message; w++) s->total[i * message + w] += s->second[e * message + w];
    }
    weights = NAME(layer)(length, message, width, s->total, hidden + (message + 1) * message, states, updated);
    weights = NAME(norm)(length, width, weights, updated);
    weights = NAME(layer)(length, width, 2 * width, updated, weights, NULL, s->wide);
    NAME(silu_all)(2 * length * width, s->wide);
    memcpy(s->sender, updated, sizeof(real) * (size_t)(length * width));
    weights = NAME(layer)(length, 2 * width, width, s->wide, weights, s->sender, updated);
    return NAME(norm)(length, width, weights, updated);
}

/* Contributions (K, L) of residues to the ranking of candidates (K, L, 4, 3). */
int NAME(judge)(const Judge *at, int64_t rows, const real *candidates, real *out) {
    int64_t size = at->residues, length = at->length, width = at->width, message = at->message, most = at->neighbours;
    int64_t all = size + length, tall = most > length ? most : length;
    int64_t sizes[15] = {0, 15 * length, 9 * length, all, length * most * message, tall * message, tall * message,
                         length * message, length * message, length * message, length * width, length * width,
                         length * width, 2 * length * width, TORSIONS * length};
    int64_t total = 0, *index = malloc(sizeof(int64_t) * (size_t)(length * (most + 1) + all));
    for (int k = 0; k < 15; k++) total += sizes[k];
    NAME(Desk) s;
    s.work = malloc(sizeof(real) * (size_t)total);
    if (!s.work || !index) {
        free(s.work);
        free(index);
        return 1;
    }
    int64_t *counts = index + length * most, *found = counts + length;
    real **parts = &s.work;
    for (int k = 1; k < 15; k++) parts[k] = parts[k - 1] + sizes[k - 1];
    for (int64_t b = 0; b < rows; b++) {
        NAME(loop)(at, &s, candidates + 12 * length * b);
        const real *edge = at->weights, *weights = edge + (PAIRS * ROWS + FRAME + 2 * MAX_OFFSET + 1) * message;
        const real *norm = weights;
        for (int64_t i = 0; i < length; i++) {
            const real *own = s.atoms + 15 * i + 12;
            for (int64_t j = 0; j < all; j++) {
                const real *other = j < size ? (const real *)at->atoms + 15 * j + 12 : s.atoms + 15 * (j - size) + 12;
                real v[3] = {other[0] - own[0], other[1] - own[1], other[2] - own[2]};
                s.gap[j] = NAME(dot)(v, v);
            }
            counts[i] = NAME(nearest)(s.gap, all, size + i, (real)INFINITY, most, found);
            memcpy(index + i * most, found, sizeof(int64_t) * (size_t)counts[i]);
            real *edges = s.edges + i * most * message;
            for (int64_t e = 0; e < counts[i]; e++) NAME(edge)(at, &s, i, found[e], edge, edges + e * message);
            weights = NAME(norm)(counts[i], message, norm, edges);
        }
        weights = NAME(layer)(length, TORSIONS, width, s.node, weights, NULL, s.states);
        weights = NAME(norm)(length, width, weights, s.states);
        for (int64_t round = 0; round < at->rounds; round++) {
            weights = NAME(round)(at, &s, round, weights, index, counts, s.states, s.states, s.final);
            real *swap = s.states;
            s.states = s.final;
            s.final = swap;
        }
        for (int64_t k = 0; k < length * width; k++) s.sender[k] = s.states[k] + weights[k];
        weights += length * width;
        weights = NAME(round)(at, &s, at->rounds, weights, index, counts, s.sender, s.states, s.final);
        const real *base = weights, *one = base + length * width, *two = one + width * width, *last = two + width * width;
        memcpy(s.sender, base, sizeof(real) * (size_t)(length * width));
        NAME(dense)(length, width, width, s.states, width, one, s.sender);
        NAME(dense)(length, width, width, s.final, width, two, s.sender);
        NAME(silu_all)(length * width, s.sender);
        for (int64_t i = 0; i < length; i++) {
            real value = last[width];
            for (int64_t w = 0; w < width; w++) value += s.sender[i * width + w] * last[w];
            out[b * length + i] = value;
        }
    }
    free(s.work);
    free(index);
    return 0;
}
