/* Calculating with dates: $dateAdd, $dateSubtract, $dateDiff, $dateTrunc, and dates from text. */
#include "bson/date.h"
#include "eval/expr_date.h"

enum unit { UNIT_MS, UNIT_SECOND, UNIT_MINUTE, UNIT_HOUR, UNIT_DAY, UNIT_WEEK, UNIT_MONTH, UNIT_QUARTER, UNIT_YEAR };

static const char *const unit_names[] = {"millisecond", "second", "minute", "hour", "day",
                                         "week",        "month",  "quarter", "year"};
static const int64_t unit_ms[] = {1, 1000, 60000, 3600000, 86400000, 604800000};

#define DAY_MS 86400000

static status read_unit(struct expr_run *x, const struct expr *e, struct bval v, enum unit *out) {
    if (v.type != B_STRING)
        return EXPR_RAISE(x, 5439013, "%s requires 'unit' to be a string, but got %s", e->op->name, expr_type_name(v));
    for (int i = 0; i < 9; i++) {
        if (!slice_equal(bval_string(v), slice_str(unit_names[i]))) continue;
        *out = (enum unit) i;
        return ST_OK;
    }
    return EXPR_RAISE(x, CODE_FailedToParse, "%s parameter 'unit' value cannot be recognized as a time unit: %.*s",
                      e->op->name, SLICE_ARGS(bval_string(v)));
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a % b < 0) != (b < 0)); }

/* --- $dateAdd, $dateSubtract ----------------------------------------------------------------------------------- */

static const char *const add_names[] = {"startDate", "unit", "amount", "timezone", NULL};
static const struct expr_named add_named = {add_names, 7, 5166400, 5166401, 5166402};

/* The same day of another month, or its last. */
static int64_t add_months(int64_t ms, int64_t months) {
    struct date_parts d;
    date_take_apart(ms, &d);
    int64_t total = d.year * 12 + (int64_t) d.month - 1 + months, year = floor_div(total, 12);
    unsigned month = (unsigned) (total - year * 12) + 1, last = date_days_in_month(year, month);
    int64_t days = date_days(year, month, d.day < last ? d.day : last);
    return days * DAY_MS + (ms - floor_div(ms, DAY_MS) * DAY_MS);
}

static status add_units(struct expr_run *x, const struct expr *e, int64_t ms, enum unit unit, int64_t amount,
                        int64_t *out) {
    int64_t delta;
    if (unit >= UNIT_MONTH) {
        int64_t months = unit == UNIT_MONTH ? 1 : unit == UNIT_QUARTER ? 3 : 12;
        if (amount > 1000000 || amount < -1000000)
            return EXPR_RAISE(x, 5976500, "invalid %s 'amount' parameter value: %lld %s", e->op->name, (long long) amount,
                              unit_names[unit]);
        *out = add_months(ms, amount * months);
        return ST_OK;
    }
    if (__builtin_mul_overflow(amount, unit_ms[unit], &delta) || __builtin_add_overflow(ms, delta, out))
        return EXPR_RAISE(x, 5166406, "%s overflowed", e->op->name);
    return ST_OK;
}

static status op_date_add(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    int64_t ms, offset, amount;
    enum unit unit;
    *out = expr_null;
    for (uint32_t i = 0; i < 4; i++) {
        if (e->args[i] != NULL && bval_is_nullish(args[i])) return ST_OK;
    }
    TRY(read_unit(x, e, args[1], &unit));
    if (args[0].type != B_DATE && args[0].type != B_TIMESTAMP && args[0].type != B_OBJECT_ID)
        return EXPR_RAISE(x, 5166403, "%s requires startDate to be convertible to a date", e->op->name);
    if (!expr_int64(args[2], &amount))
        return EXPR_RAISE(x, 5166405, "%s expects integer amount of time units", e->op->name);
    TRY(expr_date_ms(x, args[0], &ms));
    TRY(expr_date_zone(x, e->args[3] != NULL ? args[3] : BVAL_MISSING, &offset));
    if (strcmp(e->op->name, "$dateSubtract") == 0) {
        if (amount == INT64_MIN) return EXPR_RAISE(x, 6045000, "invalid %s 'amount' parameter value", e->op->name);
        amount = -amount;
    }
    TRY(add_units(x, e, ms + offset, unit, amount, &ms));
    return expr_put_date(x, ms - offset, out);
}

/* --- weeks ----------------------------------------------------------------------------------------------------- */

/* The day a week starts with, 1 Monday .. 7 Sunday. */
static status read_week_start(struct expr_run *x, const struct expr *e, const struct expr *arg, struct bval v, int *out) {
    static const char *const names[] = {"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"};
    *out = 7;
    if (arg == NULL) return ST_OK;
    if (v.type != B_STRING)
        return EXPR_RAISE(x, 5439015, "%s requires 'startOfWeek' to be a string, but got %s", e->op->name,
                          expr_type_name(v));
    struct slice s = bval_string(v);
    for (int i = 0; i < 7; i++) {
        size_t n = strlen(names[i]);
        if ((s.len != n && s.len != 3) || strncasecmp((const char *) s.p, names[i], s.len) != 0) continue;
        *out = i + 1;
        return ST_OK;
    }
    return EXPR_RAISE(x, CODE_FailedToParse, "%s parameter 'startOfWeek' value cannot be recognized as a day of a week: %.*s",
                      e->op->name, SLICE_ARGS(s));
}

/* Whole weeks since the week that holds 1970-01-01. */
static int64_t week_number(int64_t days, int start) { return floor_div(days + 3 - (start - 1), 7); }

/* --- $dateDiff ------------------------------------------------------------------------------------------------- */

static const char *const diff_names[] = {"startDate", "endDate", "unit", "timezone", "startOfWeek", NULL};
static const struct expr_named diff_named = {diff_names, 7, 5166301, 5166302, 5166303};

/* Boundaries of units between the two. */
static int64_t unit_number(int64_t ms, enum unit unit, int week_start) {
    struct date_parts d;
    if (unit == UNIT_WEEK) return week_number(floor_div(ms, DAY_MS), week_start);
    if (unit < UNIT_WEEK) return floor_div(ms, unit_ms[unit]);
    date_take_apart(ms, &d);
    if (unit == UNIT_YEAR) return d.year;
    return unit == UNIT_QUARTER ? d.year * 4 + (d.month - 1) / 3 : d.year * 12 + d.month - 1;
}

static status op_date_diff(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    int64_t from, to, offset;
    enum unit unit;
    int week_start;
    *out = expr_null;
    for (uint32_t i = 0; i < 4; i++) {
        if (e->args[i] != NULL && bval_is_nullish(args[i])) return ST_OK;
    }
    TRY(read_unit(x, e, args[2], &unit));
    if (unit == UNIT_WEEK && e->args[4] != NULL && bval_is_nullish(args[4])) return ST_OK;
    for (int i = 0; i < 2; i++) {
        if (args[i].type != B_DATE && args[i].type != B_TIMESTAMP && args[i].type != B_OBJECT_ID)
            return EXPR_RAISE(x, 5166307, "$dateDiff requires '%s' to be a date, but got %s", diff_names[i],
                              expr_type_name(args[i]));
    }
    TRY(expr_date_zone(x, e->args[3] != NULL ? args[3] : BVAL_MISSING, &offset));
    TRY(read_week_start(x, e, unit == UNIT_WEEK ? e->args[4] : NULL, args[4], &week_start));
    TRY(expr_date_ms(x, args[0], &from));
    TRY(expr_date_ms(x, args[1], &to));
    int64_t a = unit_number(from + offset, unit, week_start), b = unit_number(to + offset, unit, week_start), n;
    if (__builtin_sub_overflow(b, a, &n)) return EXPR_RAISE(x, 5166308, "$dateDiff overflowed");
    return expr_put_int64(x, n, out);
}

/* --- $dateTrunc ------------------------------------------------------------------------------------------------ */

static const char *const trunc_names[] = {"date", "unit", "binSize", "timezone", "startOfWeek", NULL};
static const struct expr_named trunc_named = {trunc_names, 3, 5439007, 5439008, 5439009};

#define TRUNC_YEAR 2000 /* bins are counted from 2000-01-01 */

static int64_t truncate(int64_t ms, enum unit unit, int64_t bin, int week_start) {
    int64_t origin = date_days(TRUNC_YEAR, 1, 1);
    if (unit < UNIT_WEEK) {
        int64_t size = bin * unit_ms[unit], base = origin * DAY_MS;
        return base + floor_div(ms - base, size) * size;
    }
    if (unit == UNIT_WEEK) { /* the first start of a week on or after the origin */
        int64_t first = origin + (week_start - 1 - (origin + 3 - 7 * floor_div(origin + 3, 7)) + 7) % 7;
        return (first + floor_div(floor_div(ms, DAY_MS) - first, 7 * bin) * 7 * bin) * DAY_MS;
    }
    struct date_parts d;
    date_take_apart(ms, &d);
    int64_t per = unit == UNIT_MONTH ? 1 : unit == UNIT_QUARTER ? 3 : 12, size = bin * per;
    int64_t months = (d.year - TRUNC_YEAR) * 12 + d.month - 1, at = floor_div(months, size) * size + TRUNC_YEAR * 12;
    int64_t year = floor_div(at, 12);
    return date_days(year, (unsigned) (at - year * 12) + 1, 1) * DAY_MS;
}

static status op_date_trunc(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    int64_t ms, offset, bin = 1;
    enum unit unit;
    int week_start;
    *out = expr_null;
    for (uint32_t i = 0; i < 4; i++) {
        if (e->args[i] != NULL && bval_is_nullish(args[i])) return ST_OK;
    }
    if (args[0].type != B_DATE && args[0].type != B_TIMESTAMP && args[0].type != B_OBJECT_ID)
        return EXPR_RAISE(x, 5439012, "$dateTrunc requires 'date' to be a date, but got %s", expr_type_name(args[0]));
    if (e->args[2] != NULL && !expr_int64(args[2], &bin))
        return EXPR_RAISE(x, 5439017, "$dateTrunc requires 'binSize' to be a 64-bit integer, but got value of type %s",
                          expr_type_name(args[2]));
    if (bin <= 0) return EXPR_RAISE(x, 5439018, "$dateTrunc requires 'binSize' to be greater than 0, but got value %lld", (long long) bin);
    TRY(read_unit(x, e, args[1], &unit));
    if (bin > 100000000000) return EXPR_RAISE(x, 5439006, "'binSize' value %lld is larger than is supported", (long long) bin);
    if (unit == UNIT_WEEK && e->args[4] != NULL && bval_is_nullish(args[4])) return ST_OK;
    TRY(read_week_start(x, e, unit == UNIT_WEEK ? e->args[4] : NULL, args[4], &week_start));
    if (unit > UNIT_SECOND && bin > 100000000)
        return EXPR_RAISE(x, 5439006, "'binSize' value %lld is larger than is supported", (long long) bin);
    TRY(expr_date_zone(x, e->args[3] != NULL ? args[3] : BVAL_MISSING, &offset));
    TRY(expr_date_ms(x, args[0], &ms));
    return expr_put_date(x, truncate(ms + offset, unit, bin, week_start) - offset, out);
}

/* --- $dateFromString ------------------------------------------------------------------------------------------- */

static const char *const from_string_names[] = {"dateString", "format", "timezone", "onNull", "onError", NULL};
static const struct expr_named from_string_named = {from_string_names, 1, 40540, 40541, 40542};

enum { CODE_ConversionFailure = 241 };

static bool take_digits(struct slice s, size_t *at, int min, int max, int64_t *out) {
    int n = 0;
    *out = 0;
    for (; n < max && *at < s.len && s.p[*at] >= '0' && s.p[*at] <= '9'; n++) *out = *out * 10 + (s.p[(*at)++] - '0');
    return n >= min;
}

static bool take_month(struct slice s, size_t *at, bool whole, int64_t *out) {
    static const char *const names[] = {"January", "February", "March", "April", "May", "June", "July",
                                        "August", "September", "October", "November", "December"};
    for (int i = 0; i < 12; i++) {
        size_t n = whole ? strlen(names[i]) : 3;
        if (s.len - *at < n || strncasecmp((const char *) s.p + *at, names[i], n) != 0) continue;
        *at += n;
        *out = i + 1;
        return true;
    }
    return false;
}

struct from_format {
    int64_t year, month, day, hour, minute, second, ms, iso_year, iso_week, iso_day, day_of_year, offset;
    bool has_zone;
};

static bool take_offset(struct slice s, size_t *at, char c, struct from_format *f) {
    int64_t sign, n, m = 0;
    if (*at >= s.len || (s.p[*at] != '+' && s.p[*at] != '-')) {
        if (c == 'z' && *at < s.len && (s.p[*at] == 'Z' || s.p[*at] == 'z')) {
            (*at)++;
            return f->has_zone = true;
        }
        return false;
    }
    sign = s.p[(*at)++] == '-' ? -1 : 1;
    if (c == 'Z') {
        if (!take_digits(s, at, 1, 4, &n)) return false;
        f->offset = sign * n * 60000;
    } else {
        if (!take_digits(s, at, 1, 2, &n)) return false;
        if (*at < s.len && s.p[*at] == ':') (*at)++;
        if (*at < s.len && !take_digits(s, at, 2, 2, &m)) return false;
        f->offset = sign * (n * 60 + m) * 60000;
    }
    return f->has_zone = true;
}

static bool take_part(struct slice s, size_t *at, char c, struct from_format *f) {
    switch (c) {
    case 'd': return take_digits(s, at, 1, 2, &f->day) && f->day >= 1 && f->day <= 31;
    case 'G': return take_digits(s, at, 4, 4, &f->iso_year);
    case 'H': return take_digits(s, at, 1, 2, &f->hour) && f->hour <= 24;
    case 'j': return take_digits(s, at, 1, 3, &f->day_of_year) && f->day_of_year >= 1 && f->day_of_year <= 366;
    case 'L': return take_digits(s, at, 1, 3, &f->ms);
    case 'm': return take_digits(s, at, 1, 2, &f->month) && f->month >= 1 && f->month <= 12;
    case 'M': return take_digits(s, at, 1, 2, &f->minute) && f->minute <= 59;
    case 'S': return take_digits(s, at, 1, 2, &f->second) && f->second <= 60;
    case 'u': return take_digits(s, at, 1, 1, &f->iso_day) && f->iso_day >= 1 && f->iso_day <= 7;
    case 'V': return take_digits(s, at, 1, 2, &f->iso_week) && f->iso_week <= 53;
    case 'Y': return take_digits(s, at, 4, 4, &f->year);
    case 'b': return take_month(s, at, false, &f->month);
    case 'B': return take_month(s, at, true, &f->month);
    case 'z':
    case 'Z': return take_offset(s, at, c, f);
    case '%': return *at < s.len && s.p[(*at)++] == '%';
    default: return false;
    }
}

static bool parse_by_format(struct slice s, struct slice format, struct from_format *f, int64_t *ms) {
    size_t at = 0;
    for (size_t i = 0; i < format.len; i++) {
        if (format.p[i] == '%' && i + 1 < format.len) {
            if (!take_part(s, &at, (char) format.p[++i], f)) return false;
        } else if (at >= s.len || s.p[at++] != format.p[i]) {
            return false;
        }
    }
    if (at != s.len) return false;
    int64_t days;
    if (f->iso_year != 0) days = date_iso_days(f->iso_year, f->iso_week != 0 ? f->iso_week : 1, f->iso_day != 0 ? f->iso_day : 1);
    else if (f->year == 0) return false;
    else if (f->day_of_year != 0) days = date_days(f->year, 1, f->day_of_year);
    else days = date_days(f->year, (unsigned) (f->month != 0 ? f->month : 1), f->day != 0 ? f->day : 1);
    *ms = ((days * 24 + f->hour) * 60 + f->minute) * 60000 + f->second * 1000 + f->ms - f->offset;
    return true;
}

/* Does the text itself name a zone? */
static bool has_zone(struct slice s) {
    if (s.len < 12) return false;
    if (s.p[s.len - 1] == 'Z' || s.p[s.len - 1] == 'z') return true;
    for (size_t i = 11; i < s.len; i++) {
        if (s.p[i] == '+' || s.p[i] == '-') return true;
    }
    return false;
}

static status parse_text(struct expr_run *x, const struct expr *e, const struct bval *args, int64_t *ms) {
    struct from_format f = {0};
    int64_t offset;
    if (args[0].type != B_STRING)
        return EXPR_RAISE(x, CODE_ConversionFailure, "$dateFromString requires that 'dateString' be a string, found: %s",
                          expr_type_name(args[0]));
    struct slice s = bval_string(args[0]);
    TRY(expr_date_zone(x, e->args[2] != NULL ? args[2] : BVAL_MISSING, &offset));
    bool ok;
    if (e->args[1] != NULL) {
        ok = parse_by_format(s, bval_string(args[1]), &f, ms);
    } else {
        ok = date_parse(s, ms);
        f.has_zone = has_zone(s);
    }
    if (!ok) return EXPR_RAISE(x, CODE_ConversionFailure, "Error parsing date string '%.*s'", SLICE_ARGS(s));
    if (f.has_zone && e->args[2] != NULL && offset != 0)
        return EXPR_RAISE(x, CODE_ConversionFailure,
                          "you cannot pass in a date/time string with GMT offset together with a timezone argument");
    *ms -= offset;
    return ST_OK;
}

static status op_date_from_string(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct err *outer = x->err, inner = ERR_INIT;
    int64_t ms;
    *out = e->args[3] != NULL ? args[3] : expr_null;
    if (e->args[1] != NULL && !bval_is_nullish(args[1]) && args[1].type != B_STRING)
        return EXPR_RAISE(x, 40684, "$dateFromString requires that 'format' be a string, found: %s",
                          expr_type_name(args[1]));
    if (bval_is_nullish(args[0])) return ST_OK;
    *out = expr_null;
    if ((e->args[1] != NULL && bval_is_nullish(args[1])) || (e->args[2] != NULL && bval_is_nullish(args[2])))
        return ST_OK;
    x->err = &inner;
    status st = parse_text(x, e, args, &ms);
    x->err = outer;
    if (st == ST_OK) return expr_put_date(x, ms, out);
    if (inner.code == CODE_ConversionFailure && e->args[4] != NULL) {
        *out = args[4];
        return ST_OK;
    }
    if (outer != NULL) *outer = inner;
    return st;
}

const struct expr_op expr_date_math_ops[] = {
    {"$dateAdd", 1, 1, 0, op_date_add, &add_named, NULL},
    {"$dateDiff", 1, 1, 0, op_date_diff, &diff_named, NULL},
    {"$dateFromString", 1, 1, 0, op_date_from_string, &from_string_named, NULL},
    {"$dateSubtract", 1, 1, 0, op_date_add, &add_named, NULL},
    {"$dateTrunc", 1, 1, 0, op_date_trunc, &trunc_named, NULL},
    {0},
};
