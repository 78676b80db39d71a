/* Dates as text; see date.h. Day numbers by Howard Hinnant's algorithms ("chrono-compatible low-level date algorithms"). */
#include "bson/date.h"

#include <stdio.h>

#define DAY_MS 86400000

static int64_t days_from_civil(int64_t y, unsigned m, unsigned d) {
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400, doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1,
            doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

static void civil_from_days(int64_t z, int64_t *y, unsigned *m, unsigned *d) {
    z += 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097, yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    *d = (unsigned) (doy - (153 * mp + 2) / 5 + 1);
    *m = (unsigned) (mp < 10 ? mp + 3 : mp - 9);
    *y = yoe + era * 400 + (*m <= 2);
}

struct cursor {
    const uint8_t *p, *end;
};

static bool take(struct cursor *c, char wanted) {
    if (c->p >= c->end || *c->p != (uint8_t) wanted) return false;
    c->p++;
    return true;
}

/* Exactly n digits. */
static bool take_number(struct cursor *c, int n, unsigned *out) {
    *out = 0;
    for (int i = 0; i < n; i++, c->p++) {
        if (c->p >= c->end || *c->p < '0' || *c->p > '9') return false;
        *out = *out * 10 + (*c->p - '0');
    }
    return true;
}

static unsigned days_in_month(unsigned y, unsigned m) {
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return days[m - 1] + (m == 2 && is_leap);
}

static bool take_date(struct cursor *c, int64_t *ms) {
    unsigned y, m, d;
    if (!take_number(c, 4, &y) || !take(c, '-') || !take_number(c, 2, &m) || !take(c, '-') || !take_number(c, 2, &d))
        return false;
    if (m < 1 || m > 12 || d < 1 || d > days_in_month(y, m)) return false;
    *ms = days_from_civil(y, m, d) * DAY_MS;
    return true;
}

/* hh:mm[:ss[.f...]]; of the fraction three digits count. */
static bool take_time(struct cursor *c, int64_t *ms) {
    unsigned h, m, s = 0, fraction = 0;
    if (!take_number(c, 2, &h) || !take(c, ':') || !take_number(c, 2, &m) || h > 23 || m > 59) return false;
    if (take(c, ':')) {
        if (!take_number(c, 2, &s) || s > 59) return false;
        if (take(c, '.')) {
            const uint8_t *start = c->p;
            for (unsigned unit = 100; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++, unit /= 10)
                fraction += (*c->p - '0') * unit;
            if (c->p == start) return false;
        }
    }
    *ms += ((h * 60 + m) * 60 + s) * (int64_t) 1000 + fraction;
    return true;
}

static bool take_zone(struct cursor *c, int64_t *ms) {
    unsigned h, m = 0;
    if (c->p == c->end || take(c, 'Z')) return true;
    bool is_east = take(c, '+');
    if (!is_east && !take(c, '-')) return false;
    if (!take_number(c, 2, &h) || h > 23) return false;
    if (c->p < c->end) {
        (void) take(c, ':');
        if (!take_number(c, 2, &m) || m > 59) return false;
    }
    int64_t offset = (int64_t) (h * 60 + m) * 60000;
    *ms += is_east ? -offset : offset;
    return true;
}

bool date_parse(struct slice text, int64_t *ms) {
    struct cursor c = {text.p, text.p + text.len};
    int64_t v;
    if (!take_date(&c, &v)) return false;
    if (c.p < c.end && ((!take(&c, 'T') && !take(&c, ' ')) || !take_time(&c, &v) || !take_zone(&c, &v))) return false;
    if (c.p != c.end) return false;
    *ms = v;
    return true;
}

bool date_to_text(int64_t ms, char text[32]) {
    int64_t days = ms / DAY_MS, rest = ms % DAY_MS, y;
    unsigned m, d;
    if (rest < 0) {
        rest += DAY_MS;
        days--;
    }
    civil_from_days(days, &y, &m, &d);
    if (y < 0 || y > 9999) return false;
    unsigned s = (unsigned) (rest / 1000), fraction = (unsigned) (rest % 1000);
    int n = snprintf(text, 32, "%04d-%02u-%02uT%02u:%02u:%02u", (int) y, m, d, s / 3600, s / 60 % 60, s % 60);
    if (fraction != 0) n += snprintf(text + n, 32 - (size_t) n, ".%03u", fraction);
    (void) snprintf(text + n, 32 - (size_t) n, "Z");
    return true;
}
