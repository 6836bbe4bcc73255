/* Escape-time counts of z^2 + c, from the definition in proto/SPEC.md, section 6. Arguments: c_re c_im center_re center_im width
 * bailout as the bits of doubles in hexadecimal, then width and height in pixels and the iteration limit. Output: u32 in the
 * machine's (little-endian) order, row by row. Compiled with -ffp-contract=off: no operation may be fused. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double bits(const char *text) {
    uint64_t word = strtoull(text, NULL, 16);
    double value;
    memcpy(&value, &word, sizeof value);
    return value;
}

int main(int argc, char **argv) {
    if (argc != 10) return 2;
    const double c_re = bits(argv[1]), c_im = bits(argv[2]), center_re = bits(argv[3]), center_im = bits(argv[4]);
    const double width = bits(argv[5]), bailout = bits(argv[6]);
    const uint32_t w = (uint32_t)strtoul(argv[7], NULL, 10), h = (uint32_t)strtoul(argv[8], NULL, 10);
    const uint32_t limit = (uint32_t)strtoul(argv[9], NULL, 10);
    const double step = width / (double)w;
    for (uint32_t j = 0; j < h; j++) {
        for (uint32_t i = 0; i < w; i++) {
            double x = center_re + (((double)i + 0.5) - (double)w / 2.0) * step;
            double y = center_im - (((double)j + 0.5) - (double)h / 2.0) * step;
            uint32_t n = 0;
            while (n < limit && !(x * x + y * y > bailout * bailout)) {
                const double next_x = ((x + y) * (x - y)) + c_re;
                const double next_y = (x * y + x * y) + c_im;
                x = next_x;
                y = next_y;
                n++;
            }
            fwrite(&n, sizeof n, 1, stdout);
        }
    }
    return 0;
}
