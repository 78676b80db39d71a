/* Dates taken apart and put together, and as text. Zones are offsets ("+05:30") and UTC; a place's name is not
 * supported. Dates with other arithmetic are in expr_date_math.c. */
#include "bson/date.h"
#include "eval/expr_date.h"

#include <stdio.h>

status expr_date_ms(struct expr_run *x, struct bval v, int64_t *ms) {
    switch (v.type) {
    case B_DATE: *ms = bval_int64(v); return ST_OK;
    case B_TIMESTAMP: *ms = (int64_t) (bval_timestamp(v) >> 32) * 1000; return ST_OK;
    case B_OBJECT_ID: *ms = (int64_t) get_be32(v.p) * 1000; return ST_OK;
    default: return EXPR_RAISE(x, 16006, "can't convert from BSON type %s to Date", expr_type_name(v));
    }
}

status expr_date_zone(struct expr_run *x, struct bval v, int64_t *offset_ms) {
    *offset_ms = 0;
    if (v.type == B_MISSING) return ST_OK;
    if (v.type != B_STRING)
        return EXPR_RAISE(x, 40517, "timezone must evaluate to a string, found %s", expr_type_name(v));
    if (date_offset_parse(bval_string(v), offset_ms)) return ST_OK;
    struct slice s = bval_string(v);
    if (memchr(s.p, '/', s.len) != NULL)
        return RAISE(x->err, ST_UNSUPPORTED, "the time zone \"%.*s\" is not supported: offsets are", SLICE_ARGS(s));
    return EXPR_RAISE(x, 40485, "unrecognized time zone identifier: \"%.*s\"", SLICE_ARGS(s));
}

/* --- one part -------------------------------------------------------------------------------------------------- */

enum part {
    PART_YEAR, PART_MONTH, PART_DAY, PART_HOUR, PART_MINUTE, PART_SECOND, PART_MS,
    PART_DAY_OF_YEAR, PART_DAY_OF_WEEK, PART_WEEK, PART_ISO_YEAR, PART_ISO_WEEK, PART_ISO_DAY,
};

static const struct {
    const char *name;
    enum part part;
} parts[] = {
    {"$year", PART_YEAR},
    {"$month", PART_MONTH},
    {"$dayOfMonth", PART_DAY},
    {"$hour", PART_HOUR},
    {"$minute", PART_MINUTE},
    {"$second", PART_SECOND},
    {"$millisecond", PART_MS},
    {"$dayOfYear", PART_DAY_OF_YEAR},
    {"$dayOfWeek", PART_DAY_OF_WEEK},
    {"$week", PART_WEEK},
    {"$isoWeekYear", PART_ISO_YEAR},
    {"$isoWeek", PART_ISO_WEEK},
    {"$isoDayOfWeek", PART_ISO_DAY},
};

static int64_t part_of(const struct date_parts *d, enum part p) {
    switch (p) {
    case PART_YEAR: return d->year;
    case PART_MONTH: return d->month;
    case PART_DAY: return d->day;
    case PART_HOUR: return d->hour;
    case PART_MINUTE: return d->minute;
    case PART_SECOND: return d->second;
    case PART_MS: return d->ms;
    case PART_DAY_OF_YEAR: return d->day_of_year;
    case PART_DAY_OF_WEEK: return d->day_of_week;
    case PART_WEEK: return d->week;
    case PART_ISO_YEAR: return d->iso_year;
    case PART_ISO_WEEK: return d->iso_week;
    default: return d->iso_day;
    }
}

/* A date, [date], or {date: ..., timezone: ...}. */
static status parse_part(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err) {
    struct bval date = v, zone = BVAL_MISSING;
    struct biter it = biter_of(v.type == B_DOCUMENT || v.type == B_ARRAY ? bval_doc(v) : bdoc_empty);
    struct belem f = {0};
    bool any = biter_next(&it, &f);
    if (v.type == B_ARRAY) {
        if (bdoc_count(bval_doc(v)) != 1)
            return RAISE_CODE(err, 40536, "%s accepts exactly one argument if given an array, but was given %u",
                              e->op->name, bdoc_count(bval_doc(v)));
        date = f.value;
    } else if (v.type == B_DOCUMENT && !(any && f.name.len > 0 && f.name.p[0] == '$')) {
        date = BVAL_MISSING;
        it = biter_of(bval_doc(v));
        while (biter_next(&it, &f)) {
            if (slice_equal(f.name, SLICE_LIT("date"))) date = f.value;
            else if (slice_equal(f.name, SLICE_LIT("timezone"))) zone = f.value;
            else
                return RAISE_CODE(err, 40535, "unrecognized option to %s: \"%.*s\"", e->op->name, SLICE_ARGS(f.name));
        }
        if (date.type == B_MISSING) return RAISE_CODE(err, 40539, "missing 'date' argument to %s", e->op->name);
    }
    TRY(expr_args(scope, e, 2, err));
    TRY(expr_arg(scope, e, 0, date, err));
    return zone.type != B_MISSING ? expr_arg(scope, e, 1, zone, err) : ST_OK;
}

static status op_part(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    int64_t ms, offset;
    struct date_parts d;
    size_t i = 0;
    *out = expr_null;
    if (bval_is_nullish(args[0]) || (e->args[1] != NULL && bval_is_nullish(args[1]))) return ST_OK;
    TRY(expr_date_ms(x, args[0], &ms));
    TRY(expr_date_zone(x, e->args[1] != NULL ? args[1] : BVAL_MISSING, &offset));
    date_take_apart(ms + offset, &d);
    while (strcmp(parts[i].name, e->op->name) != 0) i++;
    int64_t n = part_of(&d, parts[i].part);
    return parts[i].part == PART_ISO_YEAR ? expr_put_int64(x, n, out) : expr_put_int32(x, (int32_t) n, out);
}

/* --- $dateToParts, $dateFromParts ------------------------------------------------------------------------------ */

static const char *const to_parts_names[] = {"date", "timezone", "iso8601", NULL};
static const struct expr_named to_parts_named = {to_parts_names, 1, 40524, 40520, 40522};

static status put_parts(struct expr_run *x, const char *const *names, const int64_t *values, uint32_t count,
                        struct bval *out) {
    struct expr_fields f = {0};
    for (uint32_t i = 0; i < count; i++) {
        struct bval v;
        TRY(expr_put_int32(x, (int32_t) values[i], &v));
        TRY(expr_fields_add(x, &f, slice_str(names[i]), v));
    }
    return expr_put_document(x, &f, out);
}

static status op_date_to_parts(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    static const char *const names[] = {"year", "month", "day", "hour", "minute", "second", "millisecond"};
    static const char *const iso_names[] = {"isoWeekYear", "isoWeek", "isoDayOfWeek", "hour", "minute", "second",
                                            "millisecond"};
    int64_t ms, offset;
    struct date_parts d;
    bool iso = false;
    *out = expr_null;
    for (uint32_t i = 0; i < 3; i++) {
        if (e->args[i] != NULL && bval_is_nullish(args[i])) return ST_OK;
    }
    if (e->args[2] != NULL) {
        if (args[2].type != B_BOOL)
            return EXPR_RAISE(x, 40521, "iso8601 must evaluate to a bool, found %s", expr_type_name(args[2]));
        iso = bval_bool(args[2]);
    }
    TRY(expr_date_zone(x, e->args[1] != NULL ? args[1] : BVAL_MISSING, &offset));
    TRY(expr_date_ms(x, args[0], &ms));
    date_take_apart(ms + offset, &d);
    int64_t values[7] = {iso ? d.iso_year : d.year, iso ? d.iso_week : d.month, iso ? d.iso_day : d.day,
                         d.hour, d.minute, d.second, d.ms};
    return put_parts(x, iso ? iso_names : names, values, 7, out);
}

static const char *const from_parts_names[] = {"year", "month", "day", "hour", "minute", "second", "millisecond",
                                               "isoWeekYear", "isoWeek", "isoDayOfWeek", "timezone", NULL};

static status parse_date_from_parts(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err) {
    static const struct expr_named named = {from_parts_names, 0, 40519, 40518, 40516};
    struct expr_op op = {.name = e->op->name, .named = &named};
    TRY(expr_parse_named(scope, &op, v, e, err));
    bool iso = e->args[7] != NULL || e->args[8] != NULL || e->args[9] != NULL;
    if (e->args[0] == NULL && e->args[7] == NULL)
        return RAISE_CODE(err, 40516, "$dateFromParts requires either 'year' or 'isoWeekYear' to be present");
    if (e->args[0] != NULL && iso)
        return RAISE_CODE(err, 40489, "$dateFromParts does not allow mixing natural dates with ISO dates");
    if (e->args[7] != NULL && (e->args[1] != NULL || e->args[2] != NULL))
        return RAISE_CODE(err, 40525, "$dateFromParts does not allow mixing ISO dates with natural dates");
    return ST_OK;
}

/* Parts 0..9 with their defaults; *done when one is null. */
static status read_parts(struct expr_run *x, const struct expr *e, const struct bval *args, int64_t values[10],
                         bool *done) {
    static const int64_t defaults[10] = {1970, 1, 1, 0, 0, 0, 0, 1970, 1, 1};
    *done = false;
    for (uint32_t i = 0; i < 10; i++) {
        values[i] = defaults[i];
        if (e->args[i] == NULL) continue;
        *done = *done || bval_is_nullish(args[i]);
        if (*done) return ST_OK;
        if (!expr_int64(args[i], &values[i]))
            return EXPR_RAISE(x, 40515, "'%s' must evaluate to an integer, found %s", from_parts_names[i],
                              expr_type_name(args[i]));
        bool is_year = i == 0 || i == 7;
        if (is_year ? values[i] < 1 || values[i] > 9999 : i != 6 && (values[i] < -32768 || values[i] > 32767))
            return EXPR_RAISE(x, is_year ? 40523 : 31034, "'%s' must evaluate to an integer in the range %s, found %lld",
                              from_parts_names[i], is_year ? "1 to 9999" : "-32768 to 32767", (long long) values[i]);
    }
    return ST_OK;
}

static status op_date_from_parts(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    int64_t v[10], offset;
    bool done;
    *out = expr_null;
    TRY(read_parts(x, e, args, v, &done));
    if (done || (e->args[10] != NULL && bval_is_nullish(args[10]))) return ST_OK;
    TRY(expr_date_zone(x, e->args[10] != NULL ? args[10] : BVAL_MISSING, &offset));
    int64_t days;
    if (e->args[7] != NULL) {
        days = date_iso_days(v[7], v[8], v[9]);
    } else { /* months past the year's end carry over */
        int64_t months = v[0] * 12 + v[1] - 1, year = months / 12 - (months % 12 < 0);
        days = date_days(year, (unsigned) (months - year * 12) + 1, v[2]);
    }
    int64_t ms = ((days * 24 + v[3]) * 60 + v[4]) * 60 + v[5];
    if (__builtin_mul_overflow(ms, 1000, &ms) || __builtin_add_overflow(ms, v[6], &ms))
        return EXPR_RAISE(x, CODE_Overflow, "$dateFromParts makes a date out of range");
    return expr_put_date(x, ms - offset, out);
}

/* --- $dateToString --------------------------------------------------------------------------------------------- */

static const char *const to_string_names[] = {"date", "format", "timezone", "onNull", NULL};
static const struct expr_named to_string_named = {to_string_names, 1, 18629, 18534, 18628};

static const char *const month_names[] = {"January", "February", "March", "April", "May", "June", "July",
                                          "August", "September", "October", "November", "December"};

static status append_part(struct expr_run *x, struct buf *buf, char c, const struct date_parts *d, int64_t offset) {
    char sign = offset < 0 ? '-' : '+';
    int64_t minutes = (offset < 0 ? -offset : offset) / 60000;
    switch (c) {
    case '%': buf_append_u8(buf, '%'); break;
    case 'd': buf_append_format(buf, "%02u", d->day); break;
    case 'G':
    case 'Y': {
        int64_t year = c == 'G' ? d->iso_year : d->year;
        if (year < 0 || year > 9999)
            return EXPR_RAISE(x, 18537, "$dateToString is only defined on year 0-9999, tried to use year %lld", (long long) year);
        buf_append_format(buf, "%04d", (int) year);
        break;
    }
    case 'H': buf_append_format(buf, "%02u", d->hour); break;
    case 'j': buf_append_format(buf, "%03u", d->day_of_year); break;
    case 'L': buf_append_format(buf, "%03u", d->ms); break;
    case 'm': buf_append_format(buf, "%02u", d->month); break;
    case 'M': buf_append_format(buf, "%02u", d->minute); break;
    case 'S': buf_append_format(buf, "%02u", d->second); break;
    case 'w': buf_append_format(buf, "%u", d->day_of_week); break;
    case 'u': buf_append_format(buf, "%u", d->iso_day); break;
    case 'U': buf_append_format(buf, "%02u", d->week); break;
    case 'V': buf_append_format(buf, "%02u", d->iso_week); break;
    case 'b': buf_append_format(buf, "%.3s", month_names[d->month - 1]); break;
    case 'B': buf_append_format(buf, "%s", month_names[d->month - 1]); break;
    case 'z': buf_append_format(buf, "%c%02d%02d", sign, (int) (minutes / 60), (int) (minutes % 60)); break;
    case 'Z': buf_append_format(buf, "%c%d", sign, (int) minutes); break;
    default: return EXPR_RAISE(x, 18536, "Invalid format character '%%%c' in format string", c);
    }
    return ST_OK;
}

static status format_date(struct expr_run *x, struct slice format, int64_t ms, int64_t offset, struct buf *buf) {
    struct date_parts d;
    date_take_apart(ms + offset, &d);
    for (size_t i = 0; i < format.len; i++) {
        if (format.p[i] != '%') {
            buf_append_u8(buf, format.p[i]);
            continue;
        }
        if (++i == format.len) return EXPR_RAISE(x, 18535, "Unmatched '%%' at end of format string");
        TRY(append_part(x, buf, (char) format.p[i], &d, offset));
    }
    return ST_OK;
}

static status op_date_to_string(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    int64_t ms, offset;
    struct slice format = SLICE_NONE;
    *out = e->args[3] != NULL ? args[3] : expr_null;
    if (e->args[1] != NULL && !bval_is_nullish(args[1])) {
        if (args[1].type != B_STRING)
            return EXPR_RAISE(x, 18533, "$dateToString requires that 'format' be a string, found: %s",
                              expr_type_name(args[1]));
        format = bval_string(args[1]);
    }
    bool has_zone = e->args[2] != NULL;
    if (bval_is_nullish(args[0])) return ST_OK;
    if ((e->args[1] != NULL && bval_is_nullish(args[1])) || (has_zone && bval_is_nullish(args[2]))) {
        *out = expr_null;
        return ST_OK;
    }
    TRY(expr_date_ms(x, args[0], &ms));
    TRY(expr_date_zone(x, has_zone ? args[2] : BVAL_MISSING, &offset));
    if (format.p == NULL) {
        bool utc = offset == 0;
        format = utc ? SLICE_LIT("%Y-%m-%dT%H:%M:%S.%LZ") : SLICE_LIT("%Y-%m-%dT%H:%M:%S.%L%z");
    }
    struct buf buf;
    buf_init(&buf, x->mem);
    status st = format_date(x, format, ms, offset, &buf);
    if (st == ST_OK && buf.failed) st = RAISE(x->err, ST_NOMEM, "$dateToString");
    if (st == ST_OK) st = expr_put_string(x, buf_slice(&buf), out);
    buf_release(&buf);
    return st;
}

const struct expr_op expr_date_ops[] = {
    {"$dateFromParts", 1, 1, 0, op_date_from_parts, NULL, parse_date_from_parts},
    {"$dateToParts", 1, 1, 0, op_date_to_parts, &to_parts_named, NULL},
    {"$dateToString", 1, 1, 0, op_date_to_string, &to_string_named, NULL},
    {"$dayOfMonth", 1, 1, 0, op_part, NULL, parse_part},
    {"$dayOfWeek", 1, 1, 0, op_part, NULL, parse_part},
    {"$dayOfYear", 1, 1, 0, op_part, NULL, parse_part},
    {"$hour", 1, 1, 0, op_part, NULL, parse_part},
    {"$isoDayOfWeek", 1, 1, 0, op_part, NULL, parse_part},
    {"$isoWeek", 1, 1, 0, op_part, NULL, parse_part},
    {"$isoWeekYear", 1, 1, 0, op_part, NULL, parse_part},
    {"$millisecond", 1, 1, 0, op_part, NULL, parse_part},
    {"$minute", 1, 1, 0, op_part, NULL, parse_part},
    {"$month", 1, 1, 0, op_part, NULL, parse_part},
    {"$second", 1, 1, 0, op_part, NULL, parse_part},
    {"$week", 1, 1, 0, op_part, NULL, parse_part},
    {"$year", 1, 1, 0, op_part, NULL, parse_part},
    {0},
};
