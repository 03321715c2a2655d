/* One step of a streaming backbone of selective state spaces, in single precision.

   The plain references are geofold/backbone/protocol.py and selective.py. F features, D width, d latent, E inner
   channels, N states of a channel. */
#include "elementary.h"

typedef struct {
    int64_t features, width, latent, layers, inner, states, rank, taps;
    double epsilon;        /* of the norms */
    const float *weights;  /* all of them, matrices transposed, in the order in which `stream_step` takes them */
} Stream;

static const float *take(const float **weights, int64_t count) {
    const float *start = *weights;
    *weights += count;
    return start;
}

static void normalise(int64_t rows, int64_t width, double epsilon, const float *x, const float *weight, float *out) {
    for (int64_t b = 0; b < rows; b++) {
        float square = 0;
        for (int64_t k = 0; k < width; k++) square += x[b * width + k] * x[b * width + k];
        float scale = 1.0f / sqrtf(square / (float)width + (float)epsilon);
        for (int64_t k = 0; k < width; k++) out[b * width + k] = x[b * width + k] * scale * weight[k];
    }
}

/* Convolution over the last steps, and the window (taps - 1, E) that the next step reads. */
static void convolve(int64_t inner, int64_t taps, const float *u, const float *window, const float *weight,
                     const float *bias, float *out, float *after) {
    for (int64_t e = 0; e < inner; e++) out[e] = u[e] * weight[(taps - 1) * inner + e] + bias[e];
    for (int64_t k = 0; k < taps - 1; k++)
        for (int64_t e = 0; e < inner; e++) out[e] += window[k * inner + e] * weight[k * inner + e];
    memcpy(after, window + inner, sizeof(float) * (taps - 2) * inner);
    memcpy(after + (taps - 2) * inner, u, sizeof(float) * inner);
    for (int64_t e = 0; e < inner; e++) out[e] = silu(out[e]);
}

/* Latents (B, d) from observations (B, F) and the corrections (B, d) of the last latents.

   before, after: pointers to window (B, taps - 1, E) and state (B, N, E) of each layer in turn. */
int stream_step(const Stream *at, int64_t rows, const float *x, const float *innovation, const float *const *before,
                float *const *after, float *latent) {
    int64_t width = at->width, inner = at->inner, states = at->states, selected = at->rank + 2 * states;
    float *u = malloc(sizeof(float) * (rows * (2 * width + 2 * inner + selected) + 4 * inner));
    if (!u) return 1;
    float *normal = u + rows * width, *wide = normal + rows * width, *select = wide + 2 * rows * inner;
    float *v = select + rows * selected, *pace = v + inner, *y = pace + inner, *drive = y + inner;
    const float *weights = at->weights;
    const float *enter = take(&weights, at->features * width), *enter_bias = take(&weights, width);
    linear(rows, at->features, width, x, at->features, enter, enter_bias, u);
    linear(rows, at->latent, width, innovation, at->latent, take(&weights, at->latent * width), NULL, normal);
    for (int64_t k = 0; k < rows * width; k++) u[k] += normal[k];
    for (int64_t layer = 0; layer < at->layers; layer++) {
        const float *norm = take(&weights, width), *spread = take(&weights, 2 * inner * width);
        const float *taps = take(&weights, at->taps * inner), *tap_bias = take(&weights, inner);
        const float *select_weight = take(&weights, inner * selected), *pace_weight = take(&weights, at->rank * inner);
        const float *pace_bias = take(&weights, inner), *rate = take(&weights, states * inner);
        const float *skip = take(&weights, inner), *gather = take(&weights, inner * width);
        normalise(rows, width, at->epsilon, u, norm, normal);
        linear(rows, width, 2 * inner, normal, width, spread, NULL, wide);
        for (int64_t b = 0; b < rows; b++) {
            const float *window = before[2 * layer] + b * (at->taps - 1) * inner, *gate = wide + (2 * b + 1) * inner;
            const float *h = before[2 * layer + 1] + b * states * inner;
            float *next = after[2 * layer + 1] + b * states * inner, *chosen = select + b * selected;
            convolve(inner, at->taps, wide + 2 * b * inner, window, taps, tap_bias, v,
                     after[2 * layer] + b * (at->taps - 1) * inner);
            linear(1, inner, selected, v, inner, select_weight, NULL, chosen);
            linear(1, at->rank, inner, chosen, at->rank, pace_weight, pace_bias, pace);
            for (int64_t e = 0; e < inner; e++) {
                pace[e] = pace[e] > 20.0f ? pace[e] : log1pf(expf(pace[e]));
                drive[e] = pace[e] * v[e];
                y[e] = skip[e] * v[e];
            }
            for (int64_t n = 0; n < states; n++) {
                float in = chosen[at->rank + n], out = chosen[at->rank + states + n];
                for (int64_t e = 0; e < inner; e++) {
                    float value = drive[e] * in + exponential(pace[e] * rate[n * inner + e]) * h[n * inner + e];
                    next[n * inner + e] = value;
                    y[e] += out * value;
                }
            }
            for (int64_t e = 0; e < inner; e++) y[e] *= silu(gate[e]);
            linear(1, inner, width, y, inner, gather, NULL, normal + b * width);
        }
        for (int64_t k = 0; k < rows * width; k++) u[k] += normal[k];
    }
    const float *norm = take(&weights, width), *leave = take(&weights, width * at->latent);
    normalise(rows, width, at->epsilon, u, norm, normal);
    linear(rows, width, at->latent, normal, width, leave, take(&weights, at->latent), latent);
    free(u);
    return 0;
}
