/* Vectors, torsions and nearest neighbours in the precision `real`; included once for each, after precision.h. */

static inline real NAME(dot)(const real *a, const real *b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

static void NAME(cross)(const real *a, const real *b, real *out) {
    out[0] = a[1] * b[2] - a[2] * b[1];
    out[1] = a[2] * b[0] - a[0] * b[2];
    out[2] = a[0] * b[1] - a[1] * b[0];
}

static void NAME(unit)(real *v) {
    real length = NAME(sqrt)(NAME(dot)(v, v)), scale = 1 / (length > (real)1e-12 ? length : (real)1e-12);
    for (int k = 0; k < 3; k++) v[k] *= scale;
}

/* Sine and cosine of the torsion of four points by the vectors between them. */
static void NAME(circle)(const real *one, const real *axis, const real *two, real *out) {
    real left[3], right[3], both[3], length = NAME(sqrt)(NAME(dot)(axis, axis));
    NAME(cross)(one, axis, left);
    NAME(cross)(axis, two, right);
    NAME(cross)(left, right, both);
    real sine = NAME(dot)(both, axis) / (length > (real)SHORTEST ? length : (real)SHORTEST);
    real cosine = NAME(dot)(left, right), size = NAME(sqrt)(sine * sine + cosine * cosine);
    out[0] = size > 0 ? sine / size : 0;
    out[1] = size > 0 ? cosine / size : 1;
}

/* The nearest others within a cutoff, at most `most`; returns their number. `gap` (size) is spent. */
static inline int64_t NAME(nearest)(real *gap, int64_t size, int64_t self, real cutoff, int64_t most, int64_t *index) {
    int64_t count = 0, kept = 0;
    for (int64_t j = 0; j < size; j++)
        if (gap[j] < cutoff && j != self) {
            index[count] = j;
            gap[count++] = gap[j];
        }
    for (; kept < count && kept < most && count > most; kept++) {
        int64_t best = kept;
        for (int64_t j = kept + 1; j < count; j++)
            if (gap[j] < gap[best]) best = j;
        real near = gap[best];
        int64_t swap = index[best];
        gap[best] = gap[kept];
        index[best] = index[kept];
        gap[kept] = near;
        index[kept] = swap;
    }
    return count < most ? count : most;
}
