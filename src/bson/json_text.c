/* Text forms; see json_text.h. The C library's conversions follow LC_NUMERIC, which belongs to the host program: reading uses the C
 * locale explicitly, writing puts the point back. */
#include "bson/json_text.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* newlocale for "C" gives glibc's and musl's static object: nothing is allocated. */
static double parse_double(const char *text, char **end) {
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t) 0);
    if (c == (locale_t) 0) return strtod(text, end);
    double d = strtod_l(text, end, c);
    freelocale(c);
    return d;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Whatever the locale puts between whole part and fraction becomes one point. */
static void restore_point(char *text) {
    char *to = text;
    bool has_point = false;
    for (const char *from = text; *from != 0; from++) {
        if (is_digit(*from) || *from == '-' || *from == '+' || *from == 'e') {
            *to++ = *from;
        } else if (!has_point) {
            *to++ = '.';
            has_point = true;
        }
    }
    *to = 0;
}

void double_to_text(double d, char text[DOUBLE_TEXT_LEN]) {
    if (fabs(d) < 1e15 && trunc(d) == d && !(d == 0 && signbit(d))) {
        (void) snprintf(text, DOUBLE_TEXT_LEN, "%lld.0", (long long) d);
        return;
    }
    for (int precision = 15; precision <= 17; precision++) {
        (void) snprintf(text, DOUBLE_TEXT_LEN - 4, "%.*g", precision, d);
        restore_point(text);
        if (precision == 17 || parse_double(text, NULL) == d) break;
    }
    if (strpbrk(text, ".e") == NULL) (void) strcat(text, ".0");
}

bool double_from_text(struct slice text, double *out) {
    char stack[128], *copy = stack, *end;
    if (text.len == 0 || text.len > 4096) return false;
    for (size_t i = 0; i < text.len; i++)
        if (!is_digit((char) text.p[i]) && memchr("+-.eE", text.p[i], 5) == NULL) return false;
    char large[4097];
    if (text.len >= sizeof(stack)) copy = large;
    memcpy(copy, text.p, text.len);
    copy[text.len] = 0;
    *out = parse_double(copy, &end);
    return end == copy + text.len;
}

bool int64_from_text(struct slice text, int64_t *out) {
    size_t i = text.len > 0 && (text.p[0] == '-' || text.p[0] == '+');
    bool is_negative = i == 1 && text.p[0] == '-';
    uint64_t v = 0;
    if (i == text.len) return false;
    for (; i < text.len; i++) {
        if (!is_digit((char) text.p[i])) return false;
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t) (text.p[i] - '0'), &v))
            return false;
    }
    if (v > (uint64_t) INT64_MAX + is_negative) return false;
    *out = (int64_t) (is_negative ? 0 - v : v);
    return true;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_append(struct buf *out, struct slice bytes) {
    uint8_t *to = buf_extend(out, (bytes.len + 2) / 3 * 4);
    if (to == NULL) return;
    for (size_t i = 0; i < bytes.len; i += 3, to += 4) {
        size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t w =
            (uint32_t) bytes.p[i] << 16 | (n > 1 ? (uint32_t) bytes.p[i + 1] << 8 : 0) | (n > 2 ? bytes.p[i + 2] : 0);
        to[0] = (uint8_t) base64_digits[w >> 18];
        to[1] = (uint8_t) base64_digits[w >> 12 & 63];
        to[2] = (uint8_t) (n > 1 ? base64_digits[w >> 6 & 63] : '=');
        to[3] = (uint8_t) (n > 2 ? base64_digits[w & 63] : '=');
    }
}

static int base64_value(uint8_t c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(struct slice text, struct buf *out) {
    if (text.len % 4 != 0) return false;
    for (size_t i = 0; i < text.len; i += 4) {
        bool is_last = i + 4 == text.len;
        unsigned pads = is_last ? (text.p[i + 3] == '=') + (text.p[i + 3] == '=' && text.p[i + 2] == '=') : 0;
        uint32_t w = 0;
        for (unsigned k = 0; k < 4; k++) {
            int v = k >= 4 - pads ? 0 : base64_value(text.p[i + k]);
            if (v < 0) return false;
            w = w << 6 | (uint32_t) v;
        }
        uint8_t bytes[3] = {(uint8_t) (w >> 16), (uint8_t) (w >> 8), (uint8_t) w};
        (void) buf_append(out, bytes, 3 - pads);
    }
    return true;
}

static int hex_value(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_decode(struct slice text, uint8_t *bytes, size_t n) {
    if (text.len != 2 * n) return false;
    for (size_t i = 0; i < n; i++) {
        int hi = hex_value(text.p[2 * i]), lo = hex_value(text.p[2 * i + 1]);
        if (hi < 0 || lo < 0) return false;
        bytes[i] = (uint8_t) (hi << 4 | lo);
    }
    return true;
}

bool decimal_from_slice(struct slice text, struct decimal *out) {
    return text.len != 0 && memchr(text.p, 0, text.len) == NULL && decimal_from_text((const char *) text.p, out);
}

void sort_bytes(uint8_t *p, size_t n) {
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k > 0 && p[k - 1] > p[k]; k--) {
            uint8_t swap = p[k];
            p[k] = p[k - 1];
            p[k - 1] = swap;
        }
}
