/* Base64: see base64.h. */
#include "command/base64.h"

static int digit_value(uint8_t ch) {
    if (ch >= 'A' && ch <= 'Z') return ch - 'A';
    if (ch >= 'a' && ch <= 'z') return ch - 'a' + 26;
    if (ch >= '0' && ch <= '9') return ch - '0' + 52;
    return ch == '+' ? 62 : ch == '/' ? 63 : -1;
}

bool base64_read(struct slice text, uint8_t *out, size_t out_max, size_t *out_len) {
    size_t n = text.len, pad = 0, at = 0;
    if (n % 4 != 0) return false;
    while (pad < 2 && pad < n && text.p[n - 1 - pad] == '=') pad++;
    if (n / 4 * 3 - pad > out_max) return false;
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++) {
        int d = i < n - pad ? digit_value(text.p[i]) : 0;
        if (d < 0) return false;
        v = v << 6 | (uint32_t) d;
        if (i % 4 != 3) continue;
        for (int shift = 16; shift >= 0 && at < n / 4 * 3 - pad; shift -= 8) out[at++] = (uint8_t) (v >> shift);
        /* Bits that padding leaves over must be zero: one text for each run of bytes. */
        if (i + 1 == n && pad > 0 && (v & ((1u << 8 * pad) - 1)) != 0) return false;
        v = 0;
    }
    *out_len = at;
    return true;
}
