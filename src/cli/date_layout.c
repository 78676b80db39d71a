/* Dates by a layout: see date_layout.h. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "date_layout.h"
#include "json_out.h"

struct translation {
    const char *from, *to;
};
static const struct translation ms_words[] = {
    {"dddd", "Monday"}, {"ddd", "Mon"}, {"dd", "02"},      {"d", "2"},    {"MMMM", "January"}, {"MMM", "Jan"},
    {"MM", "01"},       {"M", "1"},     {"hh", "03"},      {"h", "3"},    {"HH", "15"},        {"H", "15"},
    {"mm", "04"},       {"m", "4"},     {"ss", "05"},      {"s", "5"},    {"tt", "PM"},        {"yyyy", "2006"},
    {"yyy", "2006"},    {"yy", "06"},   {"zzz", "-07:00"}, {"zz", "-07"},
};
static const struct translation oracle_words[] = {
    {"AM", "PM"},   {"DAY", "Monday"},     {"DY", "Mon"},        {"DD", "02"},     {"HH12", "03"}, {"HH24", "15"},
    {"HH", "03"},   {"MI", "04"},          {"MONTH", "January"}, {"MON", "Jan"},   {"MM", "01"},   {"SS", "05"},
    {"TZD", "MST"}, {"TZH:TZM", "-07:00"}, {"TZH", "-07"},       {"YYYY", "2006"}, {"YY", "06"},
};

static char *translate(const char *layout, const struct translation *words, size_t count, bool any_case) {
    struct text out = {0};
    text_append(&out, "", 0);
    while (*layout != '\0') {
        size_t w = 0, len = 0;
        for (; w < count; w++) {
            len = strlen(words[w].from);
            if ((any_case ? strncasecmp(layout, words[w].from, len) : strncmp(layout, words[w].from, len)) == 0) break;
        }
        char c = any_case ? (char) toupper((unsigned char) *layout) : *layout;
        if (w < count) text_append_str(&out, words[w].to);
        else text_append(&out, &c, 1);
        layout += w < count ? len : 1;
    }
    return out.p;
}

char *date_layout_new(enum date_style style, const char *layout) {
    if (style == DATE_MS) return translate(layout, ms_words, sizeof(ms_words) / sizeof(ms_words[0]), false);
    if (style == DATE_ORACLE)
        return translate(layout, oracle_words, sizeof(oracle_words) / sizeof(oracle_words[0]), true);
    return bson_strdup(layout);
}

/* ---- reading ---- */

enum part {
    PART_LITERAL, /* one character of the layout */
    PART_YEAR,
    PART_YEAR_2,
    PART_MONTH,
    PART_MONTH_0,
    PART_MONTH_NAME,
    PART_MONTH_SHORT,
    PART_WEEKDAY_NAME,
    PART_WEEKDAY_SHORT,
    PART_DAY,
    PART_DAY_0,
    PART_DAY_OF_YEAR,
    PART_HOUR,
    PART_HOUR_12,
    PART_HOUR_12_0,
    PART_MINUTE,
    PART_MINUTE_0,
    PART_SECOND,
    PART_SECOND_0,
    PART_FRACTION,
    PART_HALF,
    PART_ZONE,
    PART_ZONE_NAME,
};

/* Longer ones before those they begin with. */
static const struct {
    const char *text;
    enum part part;
} parts[] = {
    {"2006", PART_YEAR},
    {"January", PART_MONTH_NAME},
    {"Jan", PART_MONTH_SHORT},
    {"Monday", PART_WEEKDAY_NAME},
    {"Mon", PART_WEEKDAY_SHORT},
    {"MST", PART_ZONE_NAME},
    {"002", PART_DAY_OF_YEAR},
    {"01", PART_MONTH_0},
    {"02", PART_DAY_0},
    {"03", PART_HOUR_12_0},
    {"04", PART_MINUTE_0},
    {"05", PART_SECOND_0},
    {"06", PART_YEAR_2},
    {"15", PART_HOUR},
    {"_2", PART_DAY},
    {"PM", PART_HALF},
    {"pm", PART_HALF},
    {"-07:00:00", PART_ZONE},
    {"-070000", PART_ZONE},
    {"-07:00", PART_ZONE},
    {"-0700", PART_ZONE},
    {"-07", PART_ZONE},
    {"Z07:00:00", PART_ZONE},
    {"Z070000", PART_ZONE},
    {"Z07:00", PART_ZONE},
    {"Z0700", PART_ZONE},
    {"Z07", PART_ZONE},
    {"1", PART_MONTH},
    {"2", PART_DAY},
    {"3", PART_HOUR_12},
    {"4", PART_MINUTE},
    {"5", PART_SECOND},
};

/* What stands at the beginning of the layout, and how long it is there. */
static enum part next_part(const char *layout, size_t *len) {
    if ((layout[0] == '.' || layout[0] == ',') && (layout[1] == '0' || layout[1] == '9')) {
        size_t n = strspn(layout + 1, layout[1] == '0' ? "0" : "9");
        *len = n + 1;
        if (!isdigit((unsigned char) layout[n + 1])) return PART_FRACTION;
    }
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        *len = strlen(parts[i].text);
        if (strncmp(layout, parts[i].text, *len) != 0) continue;
        bool is_short = parts[i].part == PART_MONTH_SHORT || parts[i].part == PART_WEEKDAY_SHORT;
        if (is_short && islower((unsigned char) layout[3])) continue; /* the beginning of another word */
        return parts[i].part;
    }
    *len = 1;
    return PART_LITERAL;
}

struct moment {
    int64_t year;
    int month, day, day_of_year, hour, minute, second, ms, zone_s;
    bool has_half, is_pm, is_12;
};

static bool take_number(const char **p, int least, int most, int *out) {
    int n = 0, v = 0;
    while (n < most && isdigit((unsigned char) (*p)[n])) v = v * 10 + ((*p)[n++] - '0');
    if (n < least) return false;
    *p += n;
    *out = v;
    return true;
}

static bool take_name(const char **p, const char *const *names, int count, bool is_short, int *out) {
    for (int i = 0; i < count; i++) {
        size_t len = is_short ? 3 : strlen(names[i]);
        if (strncasecmp(*p, names[i], len) != 0) continue;
        *p += len;
        *out = i;
        return true;
    }
    return false;
}

/* Digits behind a point, cut to milliseconds. */
static bool take_fraction(const char **p, struct moment *m) {
    int scale = 100;
    if ((**p != '.' && **p != ',') || !isdigit((unsigned char) (*p)[1])) return false;
    m->ms = 0;
    for (++*p; isdigit((unsigned char) **p); ++*p) {
        m->ms += (**p - '0') * scale;
        scale /= 10;
    }
    return true;
}

/* "+02:00", "-0730", "Z" where the layout's zone begins with a Z. */
static bool take_zone(const char **p, const char *layout, size_t len, struct moment *m) {
    int hours, minutes = 0, seconds = 0;
    bool colons = memchr(layout, ':', len) != NULL;
    size_t digits = 0;
    for (size_t i = 0; i < len; i++) digits += isdigit((unsigned char) layout[i]) != 0;
    if (layout[0] == 'Z' && **p == 'Z') return ++*p, true;
    if (**p != '+' && **p != '-') return false;
    int sign = *(*p)++ == '-' ? -1 : 1;
    if (!take_number(p, 2, 2, &hours)) return false;
    if (digits >= 4 && ((colons && *(*p)++ != ':') || !take_number(p, 2, 2, &minutes))) return false;
    if (digits >= 6 && ((colons && *(*p)++ != ':') || !take_number(p, 2, 2, &seconds))) return false;
    if (hours > 24 || minutes > 59 || seconds > 59) return false;
    m->zone_s = sign * (hours * 3600 + minutes * 60 + seconds);
    return true;
}

/* An abbreviation says nothing certain of the offset; it is read as UTC, as mongoimport does with all but its own zone. */
static bool take_zone_name(const char **p) {
    size_t n = 0;
    while (isupper((unsigned char) (*p)[n])) n++;
    if (n < 3 || n > 5) return false;
    *p += n;
    return true;
}

static bool take_half(const char **p, struct moment *m) {
    if (strncasecmp(*p, "AM", 2) != 0 && strncasecmp(*p, "PM", 2) != 0) return false;
    m->has_half = true;
    m->is_pm = **p == 'P' || **p == 'p';
    *p += 2;
    return true;
}

static bool take_year(const char **p, int digits, struct moment *m) {
    int v;
    if (!take_number(p, digits, digits, &v)) return false;
    m->year = digits == 4 ? v : v >= 69 ? 1900 + v : 2000 + v;
    return true;
}

static bool take_second(const char **p, int least, const char *layout_rest, struct moment *m) {
    size_t len;
    if (!take_number(p, least, 2, &m->second)) return false;
    if (next_part(layout_rest, &len) != PART_FRACTION) (void) take_fraction(p, m); /* more than the layout asks for */
    return true;
}

static bool take_part(const char **p, enum part part, const char *layout, size_t len, struct moment *m) {
    static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                         "July",    "August",   "September", "October", "November", "December"};
    static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
    int ignored;
    switch (part) {
    case PART_LITERAL: return **p == *layout ? (++*p, true) : false;
    case PART_YEAR: return take_year(p, 4, m);
    case PART_YEAR_2: return take_year(p, 2, m);
    case PART_MONTH: return take_number(p, 1, 2, &m->month);
    case PART_MONTH_0: return take_number(p, 2, 2, &m->month);
    case PART_MONTH_NAME: return take_name(p, months, 12, false, &m->month) && ++m->month;
    case PART_MONTH_SHORT: return take_name(p, months, 12, true, &m->month) && ++m->month;
    case PART_WEEKDAY_NAME: return take_name(p, days, 7, false, &ignored);
    case PART_WEEKDAY_SHORT: return take_name(p, days, 7, true, &ignored);
    case PART_DAY:
        if (layout[0] == '_' && **p == ' ') ++*p;
        return take_number(p, 1, 2, &m->day);
    case PART_DAY_0: return take_number(p, 2, 2, &m->day);
    case PART_DAY_OF_YEAR: return take_number(p, 3, 3, &m->day_of_year) && m->day_of_year > 0;
    case PART_HOUR: return take_number(p, 1, 2, &m->hour);
    case PART_HOUR_12: m->is_12 = true; return take_number(p, 1, 2, &m->hour);
    case PART_HOUR_12_0: m->is_12 = true; return take_number(p, 2, 2, &m->hour);
    case PART_MINUTE: return take_number(p, 1, 2, &m->minute);
    case PART_MINUTE_0: return take_number(p, 2, 2, &m->minute);
    case PART_SECOND: return take_second(p, 1, layout + len, m);
    case PART_SECOND_0: return take_second(p, 2, layout + len, m);
    case PART_FRACTION: return take_fraction(p, m) || layout[1] == '9';
    case PART_HALF: return take_half(p, m);
    case PART_ZONE: return take_zone(p, layout, len, m);
    case PART_ZONE_NAME: return take_zone_name(p);
    }
    return false;
}

static bool is_leap(int64_t year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

static int64_t days_of(int64_t year, int month, int day) {
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int64_t y = year - 1;
    int64_t days = 365 * y + y / 4 - y / 100 + y / 400; /* of the years 1 to y */
    if (year == 0) days = -366;
    return days + before[month - 1] + (month > 2 && is_leap(year)) + day - 1 - 719162;
}

static bool make_ms(struct moment *m, int64_t *ms) {
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (m->is_12 && (m->hour < 0 || m->hour > 12)) return false;
    if (m->has_half && m->is_pm && m->hour < 12) m->hour += 12;
    else if (m->has_half && !m->is_pm && m->hour == 12) m->hour = 0;
    if (m->month < 1 || m->month > 12 || m->hour > 23 || m->minute > 59 || m->second > 59) return false;
    int length = lengths[m->month - 1] + (m->month == 2 && is_leap(m->year));
    if (m->day < 1 || m->day > length || m->day_of_year > 365 + is_leap(m->year)) return false;
    int64_t days =
        m->day_of_year > 0 ? days_of(m->year, 1, 1) + m->day_of_year - 1 : days_of(m->year, m->month, m->day);
    *ms = (days * 86400 + m->hour * 3600 + m->minute * 60 + m->second - m->zone_s) * 1000 + m->ms;
    return true;
}

bool date_layout_parse(const char *layout, const char *text, int64_t *ms) {
    struct moment m = {.month = 1, .day = 1};
    const char *p = text;
    while (*layout != '\0') {
        size_t len;
        if (*layout == ' ') { /* any number of blanks stands for any other */
            if (*p != '\0' && *p != ' ') return false;
            while (*layout == ' ') layout++;
            while (*p == ' ') p++;
            continue;
        }
        enum part part = next_part(layout, &len);
        if (!take_part(&p, part, layout, len, &m)) return false;
        layout += len;
    }
    return *p == '\0' && make_ms(&m, ms);
}
