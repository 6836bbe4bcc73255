/* The definition as one would write it in C: scalar doubles, rows shared out by OpenMP.
 *
 * Arguments: w h c.re c.im width center.re center.im limit band every. Of each `every` bands of `band` rows, the first is computed.
 * Prints the seconds taken, the sum of the counts and the number of threads. */
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    if (argc != 11) return 2;
    const int w = atoi(argv[1]), h = atoi(argv[2]);
    const double cr = strtod(argv[3], 0), ci = strtod(argv[4], 0), width = strtod(argv[5], 0);
    const double center_re = strtod(argv[6], 0), center_im = strtod(argv[7], 0), step = width / w;
    const uint32_t limit = strtoul(argv[8], 0, 10);
    const int band = atoi(argv[9]), every = atoi(argv[10]);
    uint32_t *counts = calloc((size_t)w * h, sizeof *counts);
    for (size_t i = 0; i < (size_t)w * h; i += 1024) ((volatile uint32_t *)counts)[i] = 1; /* Pages exist before the clock starts. */
    int threads = 0;
#pragma omp parallel
    {
#pragma omp single
        threads = omp_get_num_threads();
    }
    const double started = omp_get_wtime();
#pragma omp parallel for schedule(dynamic)
    for (int j = 0; j < h; j++) {
        if (j / band % every) continue;
        const double y0 = center_im - (j + 0.5 - h / 2.0) * step;
        for (int i = 0; i < w; i++) {
            double x = center_re + (i + 0.5 - w / 2.0) * step, y = y0;
            uint32_t n = 0;
            while (n < limit && x * x + y * y <= 4.0) {
                const double xy = x * y;
                x = (x + y) * (x - y) + cr;
                y = (xy + xy) + ci;
                n++;
            }
            counts[(size_t)j * w + i] = n;
        }
    }
    const double seconds = omp_get_wtime() - started;
    uint64_t sum = 0;
    for (int j = 0; j < h; j++)
        if (j / band % every == 0)
            for (int i = 0; i < w; i++) sum += counts[(size_t)j * w + i];
    printf("%.9f %llu %d\n", seconds, (unsigned long long)sum, threads);
    return 0;
}
