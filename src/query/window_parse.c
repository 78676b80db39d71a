/* Parsing {$function: argument, window: {documents|range: [lower, upper], unit}}; see window.h. */
#include "bson/decimal_math.h"
#include "query/window.h"

enum {
    CODE_WINDOW_ORDER = 5339900,          /* lower above upper */
    CODE_WINDOW_NEEDS_SORT = 5339901,     /* documents without sortBy */
    CODE_RANGE_NEEDS_ONE_FIELD = 5339902, /* a range without sortBy, or with several fields */
    CODE_RANK_WINDOW = 5371601,
    CODE_RANK_SORT = 5371602,
    CODE_RANK_ARGUMENT = 5371603,
    CODE_UNIT_TOO_LONG = 5490710,
    CODE_FILL_SORT = 605001,
};

struct function_row {
    const char *name;
    enum window_function function;
    enum { WINDOW_OPTIONAL, WINDOW_NEEDED, WINDOW_FORBIDDEN } window;
};

/* The functions that are no accumulators of $group, and the accumulators that may stand here. */
static const struct function_row functions[] = {
    {"$covariancePop", WINDOW_COVARIANCE_POP, WINDOW_OPTIONAL},
    {"$covarianceSamp", WINDOW_COVARIANCE_SAMP, WINDOW_OPTIONAL},
    {"$denseRank", WINDOW_DENSE_RANK, WINDOW_FORBIDDEN},
    {"$derivative", WINDOW_DERIVATIVE, WINDOW_NEEDED},
    {"$documentNumber", WINDOW_DOCUMENT_NUMBER, WINDOW_FORBIDDEN},
    {"$expMovingAvg", WINDOW_MOVING_AVERAGE, WINDOW_FORBIDDEN},
    {"$integral", WINDOW_INTEGRAL, WINDOW_OPTIONAL},
    {"$linearFill", WINDOW_LINEAR_FILL, WINDOW_FORBIDDEN},
    {"$locf", WINDOW_LOCF, WINDOW_FORBIDDEN},
    {"$rank", WINDOW_RANK, WINDOW_FORBIDDEN},
    {"$shift", WINDOW_SHIFT, WINDOW_FORBIDDEN},
    {"$first", WINDOW_FIRST, WINDOW_OPTIONAL},
    {"$last", WINDOW_LAST, WINDOW_OPTIONAL},
    {"$addToSet", WINDOW_ACCUMULATE, WINDOW_OPTIONAL},
    {"$avg", WINDOW_ACCUMULATE, WINDOW_OPTIONAL},
    {"$bottom", WINDOW_ACCUMULATE, WINDOW_OPTIONAL},
    {"$bottomN", WINDOW_ACCUMULATE, WINDOW_OPTIONAL},
    {"$count", WINDOW_ACCUMULATE, WINDOW_OPTIONAL},
    {"$firstN", WINDOW_ACCUMULATE, WINDOW_OPTIONAL},
    {"$lastN", WINDOW_ACCUMULATE, WINDOW_OPTIONAL},
    {"$max", WINDOW_ACCUMULATE, WINDOW_OPTIONAL},
    {"$maxN", WINDOW_ACCUMULATE, WINDOW_OPTIONAL},
    {"$median", WINDOW_ACCUMULATE, WINDOW_OPTIONAL},
    {"$min", WINDOW_ACCUMULATE, WINDOW_OPTIONAL},
    {"$minN", WINDOW_ACCUMULATE, WINDOW_OPTIONAL},
    {"$percentile", WINDOW_ACCUMULATE, WINDOW_OPTIONAL},
    {"$push", WINDOW_ACCUMULATE, WINDOW_OPTIONAL},
    {"$stdDevPop", WINDOW_ACCUMULATE, WINDOW_OPTIONAL},
    {"$stdDevSamp", WINDOW_ACCUMULATE, WINDOW_OPTIONAL},
    {"$sum", WINDOW_ACCUMULATE, WINDOW_OPTIONAL},
    {"$top", WINDOW_ACCUMULATE, WINDOW_OPTIONAL},
    {"$topN", WINDOW_ACCUMULATE, WINDOW_OPTIONAL},
};

static const struct function_row *find_function(struct slice name) {
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
        if (slice_equal(name, slice_str(functions[i].name))) return &functions[i];
    return NULL;
}

bool window_function_is_known(struct slice name) { return find_function(name) != NULL; }

/* --- windows ---------------------------------------------------------------------------------------------------- */

static status parse_bound(struct pipe_parse *ps, struct bval v, const struct window *w, struct window_bound *out) {
    if (v.type == B_STRING) {
        bool is_unbounded = slice_equal(bval_string(v), SLICE_LIT("unbounded"));
        if (!is_unbounded && !slice_equal(bval_string(v), SLICE_LIT("current")))
            return RAISE_CODE(ps->err, CODE_FailedToParse,
                              "Window bounds must be 'unbounded', 'current', or a number, not '%.*s'",
                              SLICE_ARGS(bval_string(v)));
        out->kind = is_unbounded ? BOUND_UNBOUNDED : BOUND_CURRENT;
        return ST_OK;
    }
    if (!bval_is_number(v))
        return RAISE_CODE(ps->err, CODE_FailedToParse,
                          "Window bounds must be 'unbounded', 'current', or a number, not %s", btype_name(v.type));
    out->kind = BOUND_OFFSET;
    out->offset = v;
    if (w->is_range && !w->has_unit) return ST_OK;
    if (!bnum_to_int64_exact(bnum_of(v), &out->steps))
        return RAISE_CODE(ps->err, CODE_FailedToParse, "%s window bounds must be whole numbers",
                          w->is_range ? "With a unit, range-based" : "Document-based");
    return ST_OK;
}

/* Does the lower end stand behind the upper one? */
static bool is_inverted(const struct window *w) {
    static const uint8_t zero_bytes[4];
    struct bval zero = {zero_bytes, 4, B_INT32};
    if (w->lower.kind == BOUND_UNBOUNDED || w->upper.kind == BOUND_UNBOUNDED) return false;
    struct bval a = w->lower.kind == BOUND_OFFSET ? w->lower.offset : zero,
                b = w->upper.kind == BOUND_OFFSET ? w->upper.offset : zero;
    return bnum_compare(bnum_of(a), bnum_of(b)) > 0;
}

static status check_place(struct pipe_parse *ps, const struct window_place *place, const struct window *w) {
    bool is_whole = w->lower.kind == BOUND_UNBOUNDED && w->upper.kind == BOUND_UNBOUNDED;
    if (is_inverted(w)) return RAISE_CODE(ps->err, CODE_WINDOW_ORDER, "Lower bound must not exceed upper bound");
    if (!w->is_range) {
        return is_whole || place->sort_count != 0
            ? ST_OK
            : RAISE_CODE(ps->err, CODE_WINDOW_NEEDS_SORT, "Document-based bounds require a sortBy");
    }
    if (place->sort_count != 1)
        return RAISE_CODE(ps->err, CODE_RANGE_NEEDS_ONE_FIELD, "Range-based bounds require sortBy a single field");
    if (!place->sort_ascends)
        return RAISE_CODE(ps->err, CODE_FailedToParse, "Range-based bounds require an ascending sortBy");
    return ST_OK;
}

static status parse_unit(struct pipe_parse *ps, const char *where, struct bval v, enum date_unit *out) {
    if (v.type != B_STRING)
        return RAISE_CODE(ps->err, CODE_FailedToParse, "%s: 'unit' must be a string, not %s", where,
                          btype_name(v.type));
    if (!date_unit_parse(bval_string(v), out))
        return RAISE_CODE(ps->err, CODE_FailedToParse,
                          "%s: unknown time unit value: %.*s; there are year, quarter, month, week, day, hour, minute, "
                          "second, millisecond",
                          where, SLICE_ARGS(bval_string(v)));
    return ST_OK;
}

static status parse_window(struct pipe_parse *ps, const struct window_place *place, struct bval spec,
                           struct window *out) {
    struct bval documents = BVAL_MISSING, range = BVAL_MISSING, unit = BVAL_MISSING;
    struct biter it = biter_of(bval_doc(spec));
    struct belem e;
    while (biter_next(&it, &e)) {
        if (slice_equal(e.name, SLICE_LIT("documents"))) documents = e.value;
        else if (slice_equal(e.name, SLICE_LIT("range"))) range = e.value;
        else if (slice_equal(e.name, SLICE_LIT("unit"))) unit = e.value;
        else
            return RAISE_CODE(ps->err, CODE_FailedToParse,
                              "'window' field must be an object with 'documents' or 'range' and 'unit'; found '%.*s'",
                              SLICE_ARGS(e.name));
    }
    if (documents.type == B_MISSING && range.type == B_MISSING) {
        if (unit.type != B_MISSING)
            return RAISE_CODE(ps->err, CODE_FailedToParse,
                              "Window bounds can only specify 'unit' with range-based bounds.");
        return ST_OK;
    }
    if (documents.type != B_MISSING && range.type != B_MISSING)
        return RAISE_CODE(ps->err, CODE_FailedToParse,
                          "Window bounds can specify either 'documents' or 'range', not both.");
    if (documents.type != B_MISSING && unit.type != B_MISSING)
        return RAISE_CODE(ps->err, CODE_FailedToParse,
                          "Window bounds can only specify 'unit' with range-based bounds.");
    out->is_range = range.type != B_MISSING;
    out->has_unit = unit.type != B_MISSING;
    if (out->has_unit) TRY(parse_unit(ps, "window", unit, &out->unit));
    struct bval bounds = out->is_range ? range : documents;
    if (bounds.type != B_ARRAY || bdoc_count(bval_doc(bounds)) != 2)
        return RAISE_CODE(ps->err, CODE_FailedToParse, "Window bounds must be a 2-element array: '%s'",
                          out->is_range ? "range" : "documents");
    TRY(parse_bound(ps, barray_at(bval_doc(bounds), 0), out, &out->lower));
    TRY(parse_bound(ps, barray_at(bval_doc(bounds), 1), out, &out->upper));
    return check_place(ps, place, out);
}

/* --- arguments -------------------------------------------------------------------------------------------------- */

struct named_values {
    const char *names[4]; /* ended by NULL */
    struct bval values[4];
};

/* {name: value, ...} of known names only. */
static status read_named(struct pipe_parse *ps, const struct window_field *f, struct bval arg, struct named_values *n) {
    struct belem e;
    if (arg.type != B_DOCUMENT)
        return RAISE_CODE(ps->err, CODE_FailedToParse, "%s: the argument must be an object, not %s", f->name,
                          btype_name(arg.type));
    for (int i = 0; i < 4; i++) n->values[i] = BVAL_MISSING;
    struct biter it = biter_of(bval_doc(arg));
    while (biter_next(&it, &e)) {
        int i = 0;
        while (i < 4 && n->names[i] != NULL && !slice_equal(e.name, slice_str(n->names[i]))) i++;
        if (i == 4 || n->names[i] == NULL)
            return RAISE_CODE(ps->err, CODE_FailedToParse, "%s got unexpected argument: %.*s", f->name,
                              SLICE_ARGS(e.name));
        n->values[i] = e.value;
    }
    return ST_OK;
}

static status needs(struct pipe_parse *ps, const struct window_field *f, const char *what) {
    return RAISE_CODE(ps->err, CODE_FailedToParse, "%s requires %s", f->name, what);
}

static status parse_shift(struct pipe_parse *ps, const struct window_place *place, struct bval arg,
                          struct window_field *f) {
    struct named_values n = {.names = {"output", "by", "default"}};
    struct expr_scope *scope = &ps->list->p->env.scope;
    struct bval constant;
    int64_t by;
    if (place->sort_count == 0) return needs(ps, f, "a sortBy");
    TRY(read_named(ps, f, arg, &n));
    if (n.values[0].type == B_MISSING) return needs(ps, f, "an 'output' expression");
    if (n.values[1].type == B_MISSING) return needs(ps, f, "'by' as an integer value");
    if (!bval_is_number(n.values[1]) || !bnum_to_int64_exact(bnum_of(n.values[1]), &by) || by < INT32_MIN ||
        by > INT32_MAX)
        return RAISE_CODE(ps->err, CODE_FailedToParse, "%s: 'by' must be an integer of 32 bits", f->name);
    f->by = by;
    if (n.values[2].type != B_MISSING) {
        TRY(expr_parse(scope, n.values[2], &f->fallback, ps->err));
        if (!expr_constant(f->fallback, &constant))
            return RAISE_CODE(ps->err, CODE_FailedToParse, "%s: 'default' expression must yield a constant value",
                              f->name);
    }
    return expr_parse(scope, n.values[0], &f->input, ps->err);
}

/* $derivative and $integral. */
static status parse_curve(struct pipe_parse *ps, const struct window_place *place, struct bval arg,
                          struct window_field *f) {
    struct named_values n = {.names = {"input", "unit"}};
    TRY(read_named(ps, f, arg, &n));
    if (n.values[0].type == B_MISSING) return needs(ps, f, "an 'input' expression");
    f->has_unit = n.values[1].type != B_MISSING;
    if (f->has_unit) TRY(parse_unit(ps, f->name, n.values[1], &f->unit));
    if (f->has_unit && date_unit_ms(f->unit) == 0)
        return RAISE_CODE(ps->err, CODE_UNIT_TOO_LONG, "%s: 'unit' must be 'week' or smaller", f->name);
    if (place->sort_count != 1) return needs(ps, f, "a sortBy of one field");
    if (f->function == WINDOW_INTEGRAL) /* the sum of the areas between the rows */
        TRY(accum_parse_operand(&ps->list->p->env.scope, SLICE_LIT("$sum"), n.values[0], &f->accum, ps->err));
    return expr_parse(&ps->list->p->env.scope, n.values[0], &f->input, ps->err);
}

static status parse_moving_average(struct pipe_parse *ps, const struct window_place *place, struct bval arg,
                                   struct window_field *f) {
    struct named_values n = {.names = {"input", "N", "alpha"}};
    int64_t count;
    if (place->sort_count == 0) return needs(ps, f, "a sortBy");
    TRY(read_named(ps, f, arg, &n));
    struct bval of_n = n.values[1], alpha = n.values[2];
    if (n.values[0].type == B_MISSING) return needs(ps, f, "an 'input' expression");
    if ((of_n.type == B_MISSING) == (alpha.type == B_MISSING))
        return needs(ps, f, "either 'N' or 'alpha', and not both");
    if (of_n.type != B_MISSING) {
        if (!bval_is_number(of_n) || !bnum_to_int64_exact(bnum_of(of_n), &count) || count <= 0)
            return RAISE_CODE(ps->err, CODE_FailedToParse, "%s: 'N' must be an integer greater than zero", f->name);
        f->alpha = 2.0 / ((double) count + 1.0);
        f->alpha_decimal =
            decimal_binary(DECIMAL_DIV, decimal_from_int64(2),
                           decimal_binary(DECIMAL_ADD, decimal_from_int64(count), decimal_from_int64(1)));
    } else {
        f->alpha = bval_is_number(alpha) ? bnum_to_double(bnum_of(alpha)) : 0;
        if (!(f->alpha > 0 && f->alpha < 1))
            return RAISE_CODE(ps->err, CODE_FailedToParse,
                              "%s: 'alpha' must be a number between 0 and 1, both exclusive", f->name);
        f->alpha_decimal = bnum_to_decimal(bnum_of(alpha));
    }
    return expr_parse(&ps->list->p->env.scope, n.values[0], &f->input, ps->err);
}

/* [x, y]; anything else gives no pairs. */
static status parse_covariance(struct pipe_parse *ps, struct bval arg, struct window_field *f) {
    struct expr_scope *scope = &ps->list->p->env.scope;
    if (arg.type == B_ARRAY && bdoc_count(bval_doc(arg)) == 2) {
        TRY(expr_parse(scope, barray_at(bval_doc(arg), 0), &f->input, ps->err));
        return expr_parse(scope, barray_at(bval_doc(arg), 1), &f->input_y, ps->err);
    }
    return expr_parse(scope, arg, &f->input, ps->err);
}

static status parse_rank(struct pipe_parse *ps, const struct window_place *place, struct bval arg,
                         const struct window_field *f) {
    if (arg.type != B_DOCUMENT || !bdoc_is_empty(bval_doc(arg)))
        return RAISE_CODE(ps->err, CODE_RANK_ARGUMENT, "%s must be specified with '{}' as the value", f->name);
    if (place->sort_count != 1)
        return RAISE_CODE(ps->err, CODE_RANK_SORT,
                          "%s must be specified with a top level sortBy expression with exactly one element", f->name);
    return ST_OK;
}

static status parse_argument(struct pipe_parse *ps, const struct window_place *place, struct belem op,
                             struct window_field *f) {
    struct expr_scope *scope = &ps->list->p->env.scope;
    switch (f->function) {
    case WINDOW_RANK:
    case WINDOW_DENSE_RANK:
    case WINDOW_DOCUMENT_NUMBER: return parse_rank(ps, place, op.value, f);
    case WINDOW_SHIFT: return parse_shift(ps, place, op.value, f);
    case WINDOW_DERIVATIVE:
    case WINDOW_INTEGRAL: return parse_curve(ps, place, op.value, f);
    case WINDOW_MOVING_AVERAGE: return parse_moving_average(ps, place, op.value, f);
    case WINDOW_COVARIANCE_POP:
    case WINDOW_COVARIANCE_SAMP: return parse_covariance(ps, op.value, f);
    case WINDOW_LINEAR_FILL:
        if (place->sort_count != 1)
            return RAISE_CODE(ps->err, CODE_FILL_SORT,
                              "%s must be specified with a top level sortBy expression with exactly one element",
                              f->name);
        return expr_parse(scope, op.value, &f->input, ps->err);
    case WINDOW_FIRST:
    case WINDOW_LAST:
    case WINDOW_LOCF: return expr_parse(scope, op.value, &f->input, ps->err);
    case WINDOW_ACCUMULATE: return accum_parse_operand(scope, op.name, op.value, &f->accum, ps->err);
    }
    return ST_OK;
}

/* --- the door --------------------------------------------------------------------------------------------------- */

static status check_path(struct pipe_parse *ps, struct slice name) {
    if (name.len == 0) return RAISE_CODE(ps->err, 40352, "FieldPath cannot be constructed with empty string");
    for (size_t i = 0; i <= name.len; i++) {
        bool starts = i == 0 || name.p[i - 1] == '.';
        if (starts && (i == name.len || name.p[i] == '.'))
            return i == name.len && i > 0
                ? RAISE_CODE(ps->err, 40353, "FieldPath must not end with a '.'.")
                : RAISE_CODE(ps->err, 15998, "FieldPath field names may not be empty strings.");
        if (starts && name.p[i] == '$')
            return RAISE_CODE(ps->err, 16410,
                              "FieldPath field names may not start with '$'. Consider using $getField or "
                              "$setField.");
    }
    return ST_OK;
}

/* {$function: argument, window: ...} apart. */
static status read_output(struct pipe_parse *ps, struct belem output, struct belem *op, struct bval *window) {
    struct belem e;
    bool has_op = false;
    *window = BVAL_MISSING;
    if (output.value.type != B_DOCUMENT)
        return RAISE_CODE(ps->err, CODE_FailedToParse, "The field '%.*s' must be a window function object",
                          SLICE_ARGS(output.name));
    struct biter it = biter_of(bval_doc(output.value));
    while (biter_next(&it, &e)) {
        if (slice_equal(e.name, SLICE_LIT("window"))) {
            *window = e.value;
        } else if (e.name.len == 0 || e.name.p[0] != '$') {
            return RAISE_CODE(ps->err, CODE_FailedToParse, "Window function found an unknown argument: %.*s",
                              SLICE_ARGS(e.name));
        } else if (has_op) {
            return RAISE_CODE(ps->err, CODE_FailedToParse,
                              "Cannot specify two functions in window function spec: %.*s and %.*s",
                              SLICE_ARGS(op->name), SLICE_ARGS(e.name));
        } else {
            *op = e;
            has_op = true;
        }
    }
    return has_op ? ST_OK
                  : RAISE_CODE(ps->err, CODE_FailedToParse, "Expected a $-prefixed window function in the field '%.*s'",
                               SLICE_ARGS(output.name));
}

status window_field_parse(struct pipe_parse *ps, const struct window_place *place, struct belem output,
                          struct window_field *f) {
    struct belem op = {0};
    struct bval window;
    TRY(check_path(ps, output.name));
    TRY(path_parse(pipe_arena(ps), output.name, &f->path, ps->err));
    TRY(read_output(ps, output, &op, &window));
    const struct function_row *row = find_function(op.name);
    if (row == NULL)
        return RAISE_CODE(ps->err, CODE_FailedToParse, "Unrecognized window function, %.*s", SLICE_ARGS(op.name));
    f->function = row->function;
    f->name = row->name;
    if (row->window == WINDOW_FORBIDDEN && window.type != B_MISSING) {
        bool is_rank =
            f->function == WINDOW_RANK || f->function == WINDOW_DENSE_RANK || f->function == WINDOW_DOCUMENT_NUMBER;
        return RAISE_CODE(ps->err, is_rank ? (int) CODE_RANK_WINDOW : (int) CODE_FailedToParse,
                          "'window' field is not allowed in %s", f->name);
    }
    if (row->window == WINDOW_NEEDED && window.type == B_MISSING)
        return RAISE_CODE(ps->err, CODE_FailedToParse, "%s requires explicit window bounds", f->name);
    if (window.type != B_MISSING && window.type != B_DOCUMENT)
        return RAISE_CODE(ps->err, CODE_FailedToParse, "'window' field must be an object, not %s",
                          btype_name(window.type));
    TRY(parse_argument(ps, place, op, f));
    return window.type == B_MISSING ? ST_OK : parse_window(ps, place, window, &f->window);
}

bool window_field_reads_order(const struct window_field *f) {
    bool is_whole = f->window.lower.kind == BOUND_UNBOUNDED && f->window.upper.kind == BOUND_UNBOUNDED;
    return (f->window.is_range && !is_whole) || f->function == WINDOW_DERIVATIVE || f->function == WINDOW_INTEGRAL ||
        f->function == WINDOW_LINEAR_FILL;
}
