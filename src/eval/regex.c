/* Regular expressions over PCRE2; see regex.h.
 *
 * Three ways to match, by how much the pattern asks:
 *   - letters only: a search for bytes;
 *   - ^letters without the m option: a comparison with the start;
 *   - anything else: PCRE2, with its JIT where there is one. When the JIT's small stack is exhausted the interpreter
 * takes over, whose memory and steps are limited. */
#include "eval/regex.h"

#include <stdatomic.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/codes.h"
#include "eval/match.h"

enum {
    PATTERN_LEN_MAX = 32764,   /* MongoDB's limit */
    MATCH_STEPS_MAX = 1000000, /* about 20 ms of backtracking */
    MATCH_HEAP_KIB_MAX = 16384,
    CODE_REGEX_INVALID = 51091,
    CODE_REGEX_OPTION = 51108,
    CODE_REGEX_FAILED = 51156,
};

struct match_regex {
    struct match_regex *next;
    const struct mem *mem;
    struct slice pattern, options;
    struct slice literal; /* what every match holds: at its start if is_anchored. p NULL: nothing known */
    bool is_anchored, is_exact;
    pcre2_general_context *general;
    pcre2_match_context *limits;
    pcre2_code *code;
    _Atomic(pcre2_match_data *) spare;
    _Atomic(pcre2_match_data *) spare_groups; /* with room for all groups */
};

/* PCRE2 frees without telling the length: it stands in front of each piece. */
enum { HEAD_LEN = 16 };

static void *regex_alloc(size_t len, void *ctx) {
    if (len > SIZE_MAX - HEAD_LEN) return NULL;
    uint8_t *p = mem_alloc(ctx, HEAD_LEN + len);
    if (p == NULL) return NULL;
    memcpy(p, &len, sizeof(len));
    return p + HEAD_LEN;
}

static void regex_dealloc(void *p, void *ctx) {
    if (p == NULL) return;
    uint8_t *head = (uint8_t *) p - HEAD_LEN;
    size_t len;
    memcpy(&len, head, sizeof(len));
    mem_free(ctx, head, HEAD_LEN + len);
}

static status parse_options(struct slice options, uint32_t *flags, struct err *err) {
    *flags = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF;
    for (size_t i = 0; i < options.len; i++) {
        switch (options.p[i]) {
        case 'i': *flags |= PCRE2_CASELESS; break;
        case 'm': *flags |= PCRE2_MULTILINE; break;
        case 's': *flags |= PCRE2_DOTALL; break;
        case 'x': *flags |= PCRE2_EXTENDED; break;
        case 'u': break; /* always on */
        default: return RAISE_CODE(err, CODE_REGEX_OPTION, "invalid flag in regex options: %c", options.p[i]);
        }
    }
    return ST_OK;
}

static bool is_plain(uint8_t c) {
    return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
        (c != 0 && strchr(" _-,:;@#&%=!<>/'\"~`", c) != NULL);
}

/* The letters at the start of the pattern, and whether they are all of it. */
static status find_literal(struct match_regex *re, uint32_t flags, struct arena *arena, struct err *err) {
    struct slice s = re->pattern;
    if ((flags & (PCRE2_CASELESS | PCRE2_EXTENDED)) != 0) return ST_OK;
    size_t at = 0;
    if (s.len != 0 && s.p[0] == '^' && (flags & PCRE2_MULTILINE) == 0) {
        re->is_anchored = true;
        at = 1;
    }
    uint8_t *text = arena_alloc(arena, s.len + 1);
    if (text == NULL) return RAISE(err, ST_NOMEM, "regular expression");
    size_t len = 0, last = 0;
    while (at < s.len) {
        bool is_escaped =
            s.p[at] == '\\' && at + 1 < s.len && s.p[at + 1] < 0x80 && !is_plain(s.p[at + 1]) && s.p[at + 1] > ' ';
        if (!is_escaped && !is_plain(s.p[at])) break;
        if (is_escaped) at++;
        if ((s.p[at] & 0xc0) != 0x80) last = len; /* where the last character starts */
        text[len++] = s.p[at++];
    }
    re->is_exact = at == s.len && len != 0;
    if (!re->is_exact) {
        bool has_choice = memchr(s.p, '|', s.len) != NULL;
        if (has_choice || !re->is_anchored) return ST_OK;
        if (at < s.len && strchr("*?{", s.p[at]) != NULL) len = last; /* the last character may be absent */
        if (len == 0) return ST_OK;
    }
    re->literal = slice_of(text, len);
    return ST_OK;
}

static status compile_code(struct match_regex *re, uint32_t flags, struct err *err) {
    int code;
    PCRE2_SIZE at;
    struct mem *mem = (struct mem *) (uintptr_t) re->mem;
    re->general = pcre2_general_context_create(regex_alloc, regex_dealloc, mem);
    if (re->general == NULL) return RAISE(err, ST_NOMEM, "regular expression");
    pcre2_compile_context *cc = pcre2_compile_context_create(re->general);
    if (cc == NULL) return RAISE(err, ST_NOMEM, "regular expression");
    re->code = pcre2_compile(re->pattern.p, re->pattern.len, flags, &code, &at, cc);
    pcre2_compile_context_free(cc);
    if (re->code == NULL) {
        if (code == PCRE2_ERROR_HEAP_FAILED) return RAISE(err, ST_NOMEM, "regular expression");
        PCRE2_UCHAR text[128] = "unknown error";
        (void) pcre2_get_error_message(code, text, sizeof(text));
        return RAISE_CODE(err, CODE_REGEX_INVALID, "Regular expression is invalid: %s", (const char *) text);
    }
    (void) pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE); /* without it the interpreter serves */
    re->limits = pcre2_match_context_create(re->general);
    if (re->limits == NULL) return RAISE(err, ST_NOMEM, "regular expression");
    (void) pcre2_set_match_limit(re->limits, MATCH_STEPS_MAX);
    (void) pcre2_set_depth_limit(re->limits, MATCH_STEPS_MAX);
    (void) pcre2_set_heap_limit(re->limits, MATCH_HEAP_KIB_MAX);
    return ST_OK;
}

status regex_compile(const struct mem *mem, struct arena *arena, struct slice pattern, struct slice options,
                     struct match_regex **out, struct err *err) {
    status st = ST_OK;
    uint32_t flags;
    TRY(parse_options(options, &flags, err));
    if (pattern.len != 0 && memchr(pattern.p, 0, pattern.len) != NULL)
        return RAISE_CODE(err, CODE_BadValue, "Regular expression cannot contain an embedded null byte");
    if (pattern.len > PATTERN_LEN_MAX)
        return RAISE_CODE(err, CODE_REGEX_INVALID, "Regular expression is invalid: regular expression is too large");
    struct match_regex *re = mem_new(mem, struct match_regex);
    if (re == NULL) return RAISE(err, ST_NOMEM, "regular expression");
    re->mem = mem;
    re->pattern = pattern;
    re->options = options;
    atomic_init(&re->spare, NULL);
    atomic_init(&re->spare_groups, NULL);
    TRY_OUT(compile_code(re, flags, err));
    TRY_OUT(find_literal(re, flags, arena, err));
    *out = re;
    re = NULL;
out:
    regex_free_all(mem, re);
    return st;
}

void regex_free_all(const struct mem *mem, struct match_regex *first) {
    while (first != NULL) {
        struct match_regex *re = first;
        first = re->next;
        pcre2_match_data_free(atomic_load_explicit(&re->spare, memory_order_acquire));
        pcre2_match_data_free(atomic_load_explicit(&re->spare_groups, memory_order_acquire));
        pcre2_match_context_free(re->limits);
        pcre2_code_free(re->code);
        pcre2_general_context_free(re->general);
        mem_delete(mem, re);
    }
}

void regex_chain(struct match_regex *regex, struct match_regex **first) {
    regex->next = *first;
    *first = regex;
}

static status match_code(struct match_regex *re, struct slice text, bool *matches, struct err *err) {
    pcre2_match_data *data = atomic_exchange_explicit(&re->spare, NULL, memory_order_acquire);
    if (data == NULL) data = pcre2_match_data_create(1, re->general);
    if (data == NULL) return RAISE(err, ST_NOMEM, "regular expression");
    const uint8_t *p = text.p != NULL ? text.p : (const uint8_t *) "";
    int rc = pcre2_match(re->code, p, text.len, 0, 0, data, re->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) rc = pcre2_match(re->code, p, text.len, 0, PCRE2_NO_JIT, data, re->limits);
    pcre2_match_data *none = NULL;
    if (!atomic_compare_exchange_strong_explicit(&re->spare, &none, data, memory_order_release, memory_order_relaxed))
        pcre2_match_data_free(data);
    if (rc == PCRE2_ERROR_NOMEMORY) return RAISE(err, ST_NOMEM, "regular expression");
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
        return RAISE_CODE(err, CODE_REGEX_FAILED,
                          "Error occurred while executing regular expression in $regex. Result code: %d", rc);
    *matches = rc >= 0;
    return ST_OK;
}

status regex_match(struct match_regex *re, struct slice text, bool *matches, struct err *err) {
    if (re->is_exact) {
        *matches = re->is_anchored
            ? slice_starts_with(text, re->literal)
            : text.len >= re->literal.len && memmem(text.p, text.len, re->literal.p, re->literal.len) != NULL;
        return ST_OK;
    }
    if (re->literal.p != NULL && !slice_starts_with(text, re->literal)) {
        *matches = false;
        return ST_OK;
    }
    return match_code(re, text, matches, err);
}

uint32_t regex_group_count(const struct match_regex *re) {
    uint32_t count = 0;
    (void) pcre2_pattern_info(re->code, PCRE2_INFO_CAPTURECOUNT, &count);
    return count;
}

status regex_find(struct match_regex *re, struct slice text, size_t from, size_t *offsets, uint32_t pair_count,
                  bool *found, struct err *err) {
    pcre2_match_data *data = atomic_exchange_explicit(&re->spare_groups, NULL, memory_order_acquire);
    if (data == NULL) data = pcre2_match_data_create_from_pattern(re->code, re->general);
    if (data == NULL) return RAISE(err, ST_NOMEM, "regular expression");
    const uint8_t *p = text.p != NULL ? text.p : (const uint8_t *) "";
    int rc = pcre2_match(re->code, p, text.len, from, 0, data, re->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) rc = pcre2_match(re->code, p, text.len, from, PCRE2_NO_JIT, data, re->limits);
    const PCRE2_SIZE *pairs = pcre2_get_ovector_pointer(data);
    for (uint32_t i = 0; i < 2 * pair_count; i++)
        offsets[i] = rc > 0 && i < 2 * (uint32_t) rc ? pairs[i] : SIZE_MAX;
    pcre2_match_data *none = NULL;
    if (!atomic_compare_exchange_strong_explicit(&re->spare_groups, &none, data, memory_order_release,
                                                 memory_order_relaxed))
        pcre2_match_data_free(data);
    if (rc == PCRE2_ERROR_NOMEMORY) return RAISE(err, ST_NOMEM, "regular expression");
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
        return RAISE_CODE(err, CODE_REGEX_FAILED, "Error occurred while executing a regular expression. Result code: %d",
                          rc);
    *found = rc >= 0;
    return ST_OK;
}

struct slice regex_pattern(const struct match_regex *re) {
    return re->pattern;
}
struct slice regex_options(const struct match_regex *re) {
    return re->options;
}

bool match_regex_prefix(const struct match_regex *re, struct slice *prefix, bool *exact) {
    if (re->literal.p == NULL || !re->is_anchored) return false;
    *prefix = re->literal;
    *exact = re->is_exact;
    return true;
}
