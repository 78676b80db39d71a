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

bool date_to_text_ms(int64_t ms, char text[32]) {
    struct date_parts p;
    date_take_apart(ms, &p);
    if (p.year < 0 || p.year > 9999) return false;
    (void) snprintf(text, 32, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned) p.year % 10000, p.month % 100, p.day % 100,
                    p.hour % 100, p.minute % 100, p.second % 100, p.ms % 1000);
    return true;
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

int64_t date_days(int64_t year, unsigned month, int64_t day) { return days_from_civil(year, month, 1) + day - 1; }

unsigned date_days_in_month(int64_t year, unsigned month) {
    int64_t next = month == 12 ? days_from_civil(year + 1, 1, 1) : days_from_civil(year, month + 1, 1);
    return (unsigned) (next - days_from_civil(year, month, 1));
}

/* 1 Monday .. 7 Sunday; 1970-01-01 was a Thursday. */
static unsigned iso_day_of(int64_t days) { return (unsigned) (days + 3 - 7 * floor_div(days + 3, 7)) + 1; }

/* The Monday of the first ISO week: that with the year's first Thursday, so with January 4th. */
static int64_t iso_year_start(int64_t year) {
    int64_t fourth = days_from_civil(year, 1, 4);
    return fourth - (int64_t) iso_day_of(fourth) + 1;
}

int64_t date_iso_days(int64_t iso_year, int64_t iso_week, int64_t iso_day) {
    return iso_year_start(iso_year) + (iso_week - 1) * 7 + iso_day - 1;
}

void date_take_apart(int64_t ms, struct date_parts *out) {
    int64_t days = floor_div(ms, DAY_MS), rest = ms - days * DAY_MS;
    civil_from_days(days, &out->year, &out->month, &out->day);
    out->hour = (unsigned) (rest / 3600000);
    out->minute = (unsigned) (rest / 60000 % 60);
    out->second = (unsigned) (rest / 1000 % 60);
    out->ms = (unsigned) (rest % 1000);
    out->day_of_year = (unsigned) (days - days_from_civil(out->year, 1, 1)) + 1;
    out->iso_day = iso_day_of(days);
    out->day_of_week = out->iso_day % 7 + 1;
    out->week = (out->day_of_year + 7 - out->day_of_week) / 7;
    out->iso_year = out->year;
    int64_t start = iso_year_start(out->year);
    if (days < start) start = iso_year_start(--out->iso_year);
    else if (days >= iso_year_start(out->year + 1)) start = iso_year_start(++out->iso_year);
    out->iso_week = (unsigned) ((days - start) / 7) + 1;
}

bool date_offset_parse(struct slice text, int64_t *offset_ms) {
    static const char *const names[] = {"Z", "UTC", "GMT", "Etc/UTC", "Etc/GMT"};
    *offset_ms = 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (slice_equal(text, slice_str(names[i]))) return true;
    }
    if (text.len < 3 || (text.p[0] != '+' && text.p[0] != '-')) return false;
    struct cursor c = {text.p, text.p + text.len};
    int64_t ms = 0;
    if (!take_zone(&c, &ms) || c.p != c.end) return false;
    *offset_ms = -ms;
    return true;
}

bool date_unit_parse(struct slice name, enum date_unit *out) {
    static const char *const names[] = {"millisecond", "second", "minute", "hour", "day", "week", "month", "quarter", "year"};
    for (int i = 0; i < 9; i++) {
        if (!slice_equal(name, slice_str(names[i]))) continue;
        *out = (enum date_unit) i;
        return true;
    }
    return false;
}

int64_t date_unit_ms(enum date_unit unit) {
    static const int64_t ms[] = {1, 1000, 60000, 3600000, DAY_MS, 7 * (int64_t) DAY_MS};
    return unit <= DATE_WEEK ? ms[unit] : 0;
}

static int64_t add_months(int64_t ms, int64_t months) {
    struct date_parts d;
    date_take_apart(ms, &d);
    int64_t total = d.year * 12 + (int64_t) d.month - 1 + months, year = floor_div(total, 12);
    unsigned month = (unsigned) (total - year * 12) + 1, last = date_days_in_month(year, month);
    int64_t days = date_days(year, month, d.day < last ? d.day : last);
    return days * DAY_MS + (ms - floor_div(ms, DAY_MS) * DAY_MS);
}

bool date_add_units(int64_t ms, enum date_unit unit, int64_t amount, int64_t *out) {
    int64_t delta;
    if (unit <= DATE_WEEK)
        return !__builtin_mul_overflow(amount, date_unit_ms(unit), &delta) && !__builtin_add_overflow(ms, delta, out);
    if (amount > 1000000 || amount < -1000000) return false;
    *out = add_months(ms, amount * (unit == DATE_MONTH ? 1 : unit == DATE_QUARTER ? 3 : 12));
    return true;
}
