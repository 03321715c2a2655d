/* Generalised Born solvation in the precision `real`; included by born.c once for each precision. */

/* Sum of n numbers, in an order that does not depend on the compiler. */
static real NAME(sum)(const real *x, int64_t n) {
    real lanes[LANES] = {0}, total = 0;
    int64_t whole = n / LANES * LANES;
    for (int64_t a = 0; a < whole; a += LANES)
        for (int k = 0; k < LANES; k++) lanes[k] += x[a + k];
    for (int k = 0; k < LANES; k++) total += lanes[k];
    for (int64_t a = whole; a < n; a++) total += x[a];
    return total;
}

/* Particles of one conformation, and sums over pairs. */
typedef struct {
    real *x, *y, *z, *core, *reach, *charge, *radius, *slope, *gx, *gy, *gz, *energy, *turn, *px, *py, *pz;
} NAME(Particles);

/* Integral of the volume of the other particles around particle i, twice the usual one. */
__attribute__((noinline)) static real NAME(integral)(const NAME(Particles) *at, int64_t count, int64_t i) {
    const real *restrict x = at->x, *restrict y = at->y, *restrict z = at->z, *restrict reach = at->reach;
    real own = at->core[i], xi = x[i], yi = y[i], zi = z[i], *restrict row = at->energy;
#pragma GCC ivdep
    for (int64_t j = 0; j < count; j++) {
        real dx = x[j] - xi, dy = y[j] - yi, dz = z[j] - zi, s = reach[j];
        real square = dx * dx + dy * dy + dz * dz, r = NAME(sqrt)(square > 0 ? square : 1), inverse = 1 / r;
        real gap = r - s, near = gap < 0 ? -gap : gap;
        real low = 1 / (near > own ? near : own), high = 1 / (r + s);
        real term = low - high + (real)0.25 * (r - s * s * inverse) * (high * high - low * low) +
                    (real)0.5 * inverse * NAME(log)(high / low);
        real inner = 2 * (1 / own - low);
        term += own < -gap ? inner : 0;
        row[j] = own < r + s ? term : 0;
    }
    row[i] = 0;
    return NAME(sum)(row, count);
}

/* Energy of particle i with those after it; adds its derivatives by place and Born radius. */
__attribute__((noinline)) static double NAME(pairs)(const NAME(Particles) *at, int64_t count, int64_t i, real prefactor) {
    const real *restrict x = at->x, *restrict y = at->y, *restrict z = at->z, *restrict charge = at->charge;
    const real *restrict radius = at->radius;
    real *restrict slope = at->slope, *restrict gx = at->gx, *restrict gy = at->gy, *restrict gz = at->gz;
    real *restrict energy = at->energy, *restrict turn = at->turn;
    real *restrict px = at->px, *restrict py = at->py, *restrict pz = at->pz;
    real factor = -prefactor * charge[i], own = radius[i], xi = x[i], yi = y[i], zi = z[i];
#pragma GCC ivdep
    for (int64_t j = i + 1; j < count; j++) {
        real dx = x[j] - xi, dy = y[j] - yi, dz = z[j] - zi, square = dx * dx + dy * dy + dz * dz;
        real product = own * radius[j], d = square / (4 * product), e = NAME(exp)(-d);
        real inverse = 1 / (square + product * e), g = factor * charge[j] * NAME(sqrt)(inverse);
        real pull = -g * (1 - (real)0.25 * e) * inverse, twist = (real)-0.5 * g * e * (1 + d) * inverse;
        energy[j] = g;
        turn[j] = twist * radius[j];
        px[j] = dx * pull;
        py[j] = dy * pull;
        pz[j] = dz * pull;
        slope[j] += twist * own;
        gx[j] += px[j];
        gy[j] += py[j];
        gz[j] += pz[j];
    }
    int64_t others = count - i - 1, next = i + 1;
    slope[i] += NAME(sum)(turn + next, others);
    gx[i] -= NAME(sum)(px + next, others);
    gy[i] -= NAME(sum)(py + next, others);
    gz[i] -= NAME(sum)(pz + next, others);
    return (double)NAME(sum)(energy + next, others);
}

/* Add the gradient of the integral of particle i, times a slope. */
__attribute__((noinline)) static void NAME(integral_slope)(const NAME(Particles) *at, int64_t count, int64_t i, real slope) {
    const real *restrict x = at->x, *restrict y = at->y, *restrict z = at->z, *restrict reach = at->reach;
    real *restrict gx = at->gx, *restrict gy = at->gy, *restrict gz = at->gz;
    real *restrict px = at->px, *restrict py = at->py, *restrict pz = at->pz;
    real own = at->core[i], xi = x[i], yi = y[i], zi = z[i];
#pragma GCC ivdep
    for (int64_t j = 0; j < count; j++) {
        real dx = x[j] - xi, dy = y[j] - yi, dz = z[j] - zi, s = reach[j];
        real square = dx * dx + dy * dy + dz * dz, r = NAME(sqrt)(square > 0 ? square : 1), inverse = 1 / r;
        real gap = r - s, near = gap < 0 ? -gap : gap;
        real low = 1 / (near > own ? near : own), high = 1 / (r + s);
        real rate = ((real)0.25 * (1 + s * s * inverse * inverse) * (high * high - low * low) -
                     (real)0.5 * inverse * inverse * NAME(log)(high / low)) * inverse * slope;
        rate = own < r + s ? rate : 0;
        px[j] = dx * rate;
        py[j] = dy * rate;
        pz[j] = dz * rate;
        gx[j] += px[j];
        gy[j] += py[j];
        gz[j] += pz[j];
    }
    gx[i] -= NAME(sum)(px, count);
    gy[i] -= NAME(sum)(py, count);
    gz[i] -= NAME(sum)(pz, count);
}

/* Energies (B) in kJ/mol and gradients (B, p, 3) in kJ/mol/nm at coordinates (B, p, 3) in nm. */
int NAME(born)(const Born *of, int64_t rows, const double *xyz, double *energies, double *gradient) {
    int64_t p = of->count;
    real *work = malloc(sizeof(real) * (size_t)(16 * p));
    double *chain = malloc(sizeof(double) * (size_t)p);
    NAME(Particles) at;
    real **parts = (real **)&at;
    for (int k = 0; work && k < 16; k++) parts[k] = work + k * p;
    for (int64_t b = 0; work && chain && b < rows; b++) {
        const double *from = xyz + 3 * b * p;
        double total = 0;
        for (int64_t i = 0; i < p; i++) {
            at.x[i] = (real)(from[3 * i] - from[0]);
            at.y[i] = (real)(from[3 * i + 1] - from[1]);
            at.z[i] = (real)(from[3 * i + 2] - from[2]);
            at.core[i] = (real)(of->radius[i] - OFFSET);
            at.reach[i] = (real)(of->scale[i] * (of->radius[i] - OFFSET));
            at.charge[i] = (real)of->charge[i];
            at.gx[i] = at.gy[i] = at.gz[i] = 0;
        }
        for (int64_t i = 0; i < p; i++) {
            double whole = of->radius[i], own = whole - OFFSET, q = of->charge[i];
            double psi = 0.5 * own * (double)NAME(integral)(&at, p, i);
            double t = tanh(psi * (ALPHA - psi * (BETA - psi * GAMMA))), born = 1 / (1 / own - t / whole);
            double surface = of->surface * (whole + PROBE) * (whole + PROBE) * pow(whole / born, 6);
            double self = -0.5 * of->prefactor * q * q / born;
            chain[i] = 0.5 * own * born * born / whole * (1 - t * t) * (ALPHA - psi * (2 * BETA - psi * 3 * GAMMA));
            at.radius[i] = (real)born;
            at.slope[i] = (real)(-(self + 6 * surface) / born);
            total += surface + self;
        }
        for (int64_t i = 0; i < p; i++) total += NAME(pairs)(&at, p, i, (real)of->prefactor);
        for (int64_t i = 0; i < p; i++) NAME(integral_slope)(&at, p, i, (real)(chain[i] * (double)at.slope[i]));
        energies[b] = total;
        for (int64_t i = 0; i < p; i++) {
            double *to = gradient + 3 * (b * p + i);
            to[0] = at.gx[i];
            to[1] = at.gy[i];
            to[2] = at.gz[i];
        }
    }
    int status = !work || !chain;
    free(work);
    free(chain);
    return status;
}
