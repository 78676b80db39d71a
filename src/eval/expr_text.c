/* Text: trimming, replacing, regular expressions. A regular expression that is constant is compiled once, with the
 * expression; another one for each row. */
#include "bson/utf8.h"
#include "eval/expr_internal.h"
#include "eval/regex.h"

static size_t char_len(const uint8_t *p, const uint8_t *end) {
    unsigned n = utf8_char_len(p, end);
    return n != 0 ? n : 1;
}

/* --- $trim, $ltrim, $rtrim ------------------------------------------------------------------------------------- */

static const char *const trim_names[] = {"input", "chars", NULL};
static const struct expr_named trim_named = {trim_names, 1, 50696, 50694, 50695};

/* White space as MongoDB trims it: NUL, ASCII's, and Unicode's space separators. */
static const char white_space[] = " \t\n\v\f\r\xc2\xa0\xe1\x9a\x80\xe2\x80\x80\xe2\x80\x81\xe2\x80\x82\xe2\x80\x83"
                                  "\xe2\x80\x84\xe2\x80\x85\xe2\x80\x86\xe2\x80\x87\xe2\x80\x88\xe2\x80\x89\xe2\x80\x8a";

static bool is_among(const uint8_t *p, size_t len, struct slice chars) {
    for (size_t at = 0; at < chars.len;) {
        size_t n = char_len(chars.p + at, chars.p + chars.len);
        if (n == len && memcmp(chars.p + at, p, n) == 0) return true;
        at += n;
    }
    return false;
}

static status op_trim(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    struct slice chars = {(const uint8_t *) white_space, sizeof(white_space)}; /* its NUL included */
    *out = expr_null;
    if (bval_is_nullish(args[0])) return ST_OK;
    if (args[0].type != B_STRING)
        return EXPR_RAISE(x, 50699, "%s requires its input to be a string, got a value of type %s", e->op->name,
                          expr_type_name(args[0]));
    if (e->args[1] != NULL) {
        if (bval_is_nullish(args[1])) return ST_OK;
        if (args[1].type != B_STRING)
            return EXPR_RAISE(x, 50700, "%s requires 'chars' to be a string, got a value of type %s", e->op->name,
                              expr_type_name(args[1]));
        chars = bval_string(args[1]);
    }
    struct slice s = bval_string(args[0]);
    const uint8_t *p = s.p, *end = s.p + s.len;
    while (e->op->name[1] != 'r' && p < end && is_among(p, char_len(p, end), chars)) p += char_len(p, end);
    while (e->op->name[1] != 'l' && end > p) {
        const uint8_t *last = end - 1;
        while (last > p && (*last & 0xc0) == 0x80) last--;
        if (!is_among(last, (size_t) (end - last), chars)) break;
        end = last;
    }
    return expr_put_string(x, slice_of(p, (size_t) (end - p)), out);
}

/* --- $replaceOne, $replaceAll ---------------------------------------------------------------------------------- */

static const char *const replace_names[] = {"input", "find", "replacement", NULL};

/* Codes go down: 51749 input, 51748 find, 51747 replacement. */
static status parse_replace(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err) {
    static const struct expr_named named = {replace_names, 0, 51751, 51750, 0};
    struct expr_op op = {.name = e->op->name, .named = &named};
    TRY(expr_parse_named(scope, &op, v, e, err));
    for (int i = 0; i < 3; i++) {
        if (e->args[i] == NULL)
            return RAISE_CODE(err, 51749 - i, "%s requires '%s' to be specified", e->op->name, replace_names[i]);
    }
    return ST_OK;
}

static status op_replace(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    bool all = strcmp(e->op->name, "$replaceAll") == 0, has_null = false;
    for (int i = 0; i < 3; i++) {
        if (!bval_is_nullish(args[i]) && args[i].type != B_STRING)
            return EXPR_RAISE(x, 51746 - i, "%s requires that '%s' be a string, found: %s", e->op->name,
                              replace_names[i], expr_type_name(args[i]));
        has_null = has_null || bval_is_nullish(args[i]);
    }
    if (has_null) {
        *out = expr_null;
        return ST_OK;
    }
    struct slice s = bval_string(args[0]), what = bval_string(args[1]), by = bval_string(args[2]);
    struct buf buf;
    buf_init(&buf, x->mem);
    buf.cap_max = EXPR_LEN_MAX;
    for (size_t at = 0;;) {
        const uint8_t *hit = at <= s.len ? what.len == 0 ? s.p + at : memmem(s.p + at, s.len - at, what.p, what.len) : NULL;
        size_t n = hit != NULL ? (size_t) (hit - s.p) - at : s.len - (at < s.len ? at : s.len);
        if (at <= s.len) buf_append(&buf, s.p + at, n);
        if (hit == NULL) break;
        buf_append_slice(&buf, by);
        at += n + what.len;
        if (what.len == 0) { /* between all characters, and once at the end */
            size_t next = at < s.len ? char_len(s.p + at, s.p + s.len) : 1;
            if (at < s.len && all) buf_append(&buf, s.p + at, next);
            if (all) at += next;
        }
        if (!all) {
            buf_append(&buf, s.p + at, s.len - at);
            break;
        }
    }
    status st = buf.failed ? RAISE(x->err, ST_NOMEM, "%s", e->op->name) : expr_put_string(x, buf_slice(&buf), out);
    buf_release(&buf);
    return st;
}

/* --- $regexMatch, $regexFind, $regexFindAll -------------------------------------------------------------------- */

struct regex_args {
    struct match_regex *compiled; /* NULL: for each row */
    bool is_null;                 /* the constant pattern is null */
};

static status check_pattern(const char *op, struct bval pattern, struct bval options, struct slice *text,
                            struct slice *flags, bool *is_null, struct err *err) {
    *is_null = bval_is_nullish(pattern);
    *flags = SLICE_LIT("");
    if (!*is_null && pattern.type != B_STRING && pattern.type != B_REGEX)
        return RAISE_CODE(err, 51105, "%s needs 'regex' to be of type string or regex", op);
    if (!bval_is_nullish(options) && options.type != B_STRING)
        return RAISE_CODE(err, 51106, "%s needs 'options' to be of type string", op);
    if (pattern.type == B_REGEX) {
        *text = bval_regex_pattern(pattern);
        *flags = bval_regex_options(pattern);
        if (options.type == B_STRING && flags->len != 0 && bval_string(options).len != 0)
            return RAISE_CODE(err, 51107, "%s: found regex option(s) specified in both 'regex' and 'option' fields", op);
    } else if (!*is_null) {
        *text = bval_string(pattern);
        if (memchr(text->p, 0, text->len) != NULL)
            return RAISE_CODE(err, 51109, "%s: regular expression cannot contain an embedded null byte", op);
    }
    if (options.type == B_STRING && flags->len == 0) *flags = bval_string(options);
    if (flags->len != 0 && memchr(flags->p, 0, flags->len) != NULL)
        return RAISE_CODE(err, 51110, "%s: regular expression options cannot contain an embedded null byte", op);
    return ST_OK;
}

static status compile(const struct mem *mem, struct arena *arena, const char *op, struct slice text, struct slice flags,
                      struct match_regex **out, struct err *err) {
    struct err inner = ERR_INIT;
    status st = regex_compile(mem, arena, text, flags, out, &inner);
    if (st == ST_OK) return ST_OK;
    if (inner.code == 51108) return RAISE_CODE(err, 51108, "%s: %s", op, inner.text);
    if (st == ST_INVALID) return RAISE_CODE(err, 51111, "Invalid Regex in %s: %s", op, inner.text);
    if (err != NULL) *err = inner;
    return st;
}

static const char *const regex_names[] = {"input", "regex", "options", NULL};

static status parse_regex(struct expr_scope *scope, struct bval v, struct expr *e, struct err *err) {
    static const struct expr_named named = {regex_names, 0, 51103, 31024, 0};
    struct expr_op op = {.name = e->op->name, .named = &named};
    struct regex_args *r = arena_new(scope->arena, struct regex_args);
    struct bval pattern, options = BVAL_MISSING;
    struct slice text, flags;
    if (r == NULL) return RAISE(err, ST_NOMEM, "expression");
    e->extra = r;
    TRY(expr_parse_named(scope, &op, v, e, err));
    if (e->args[0] == NULL) return RAISE_CODE(err, 31022, "%s requires 'input' parameter", e->op->name);
    if (e->args[1] == NULL) return RAISE_CODE(err, 31023, "%s requires 'regex' parameter", e->op->name);
    if (!expr_constant(e->args[1], &pattern)) return ST_OK;
    if (e->args[2] != NULL && !expr_constant(e->args[2], &options)) return ST_OK;
    TRY(check_pattern(e->op->name, pattern, options, &text, &flags, &r->is_null, err));
    if (r->is_null) return ST_OK;
    TRY(compile(scope->mem, scope->arena, e->op->name, text, flags, &r->compiled, err));
    regex_chain(r->compiled, &scope->regexes);
    return ST_OK;
}

static int32_t characters(struct slice s, size_t upto) {
    int32_t n = 0;
    for (size_t i = 0; i < upto; i++) n += (s.p[i] & 0xc0) != 0x80;
    return n;
}

/* {match: ..., idx: ..., captures: [...]} */
static status match_document(struct expr_run *x, struct slice s, const size_t *offsets, uint32_t groups,
                             struct bval *out) {
    struct bval match, idx, captures, *items;
    TRY(expr_alloc(x, groups * sizeof(*items) + 1, &items));
    TRY(expr_put_string(x, slice_of(s.p + offsets[0], offsets[1] - offsets[0]), &match));
    TRY(expr_put_int32(x, characters(s, offsets[0]), &idx));
    for (uint32_t i = 0; i < groups; i++) {
        const size_t *o = offsets + 2 * (i + 1);
        items[i] = expr_null;
        if (o[0] != SIZE_MAX) TRY(expr_put_string(x, slice_of(s.p + o[0], o[1] - o[0]), &items[i]));
    }
    TRY(expr_put_array(x, items, groups, &captures));
    struct belem fields[3] = {{SLICE_LIT("match"), match}, {SLICE_LIT("idx"), idx}, {SLICE_LIT("captures"), captures}};
    struct expr_fields f = {fields, 3, 3};
    return expr_put_document(x, &f, out);
}

static status find_all(struct expr_run *x, struct match_regex *re, struct slice s, bool all, struct bval *out) {
    uint32_t groups = regex_group_count(re);
    struct expr_list list = {0};
    size_t *offsets;
    bool found;
    TRY(expr_alloc(x, 2 * (groups + 1) * sizeof(*offsets), &offsets));
    for (size_t at = 0; at <= s.len;) {
        struct bval m;
        TRY(regex_find(re, s, at, offsets, groups + 1, &found, x->err));
        if (!found) break;
        TRY(match_document(x, s, offsets, groups, &m));
        TRY(expr_list_push(x, &list, m));
        if (!all) break;
        at = offsets[1];
        if (offsets[0] == offsets[1]) at += at < s.len ? char_len(s.p + at, s.p + s.len) : 1;
    }
    if (all) return expr_put_array(x, list.at, list.count, out);
    *out = list.count != 0 ? list.at[0] : expr_null;
    return ST_OK;
}

static status run_regex(struct expr_run *x, const struct expr *e, struct match_regex *re, struct slice s,
                        struct bval *out) {
    if (strcmp(e->op->name, "$regexMatch") == 0) {
        bool matches;
        TRY(regex_match(re, s, &matches, x->err));
        return expr_put_bool(matches, out);
    }
    return find_all(x, re, s, strcmp(e->op->name, "$regexFindAll") == 0, out);
}

static status op_regex(struct expr_run *x, const struct expr *e, const struct bval *args, struct bval *out) {
    const struct regex_args *r = e->extra;
    struct match_regex *re = r->compiled;
    struct slice text = SLICE_NONE, flags;
    bool is_null = r->is_null;
    if (!bval_is_nullish(args[0]) && args[0].type != B_STRING)
        return EXPR_RAISE(x, 51104, "%s needs 'input' to be of type string", e->op->name);
    if (re == NULL && !is_null) TRY(check_pattern(e->op->name, args[1], args[2], &text, &flags, &is_null, x->err));
    if (bval_is_nullish(args[0]) || is_null) {
        *out = strcmp(e->op->name, "$regexMatch") == 0 ? expr_false
            : strcmp(e->op->name, "$regexFind") == 0   ? expr_null
                                                       : expr_empty_array;
        return ST_OK;
    }
    if (re != NULL) return run_regex(x, e, re, bval_string(args[0]), out);
    TRY(compile(x->mem, x->arena, e->op->name, text, flags, &re, x->err));
    status st = run_regex(x, e, re, bval_string(args[0]), out);
    regex_free_all(x->mem, re);
    return st;
}

const struct expr_op expr_text_ops[] = {
    {"$ltrim", 1, 2, 0, op_trim, &trim_named, NULL},
    {"$regexFind", 1, 1, 0, op_regex, NULL, parse_regex},
    {"$regexFindAll", 1, 1, 0, op_regex, NULL, parse_regex},
    {"$regexMatch", 1, 1, 0, op_regex, NULL, parse_regex},
    {"$replaceAll", 1, 1, 0, op_replace, NULL, parse_replace},
    {"$replaceOne", 1, 1, 0, op_replace, NULL, parse_replace},
    {"$rtrim", 1, 2, 0, op_trim, &trim_named, NULL},
    {"$trim", 1, 2, 0, op_trim, &trim_named, NULL},
    {0},
};
