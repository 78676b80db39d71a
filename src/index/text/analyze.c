/* Words, folding and stemming; see analyze.h. */
#include "index/text/analyze.h"

#include <libstemmer.h>
#include <utf8proc.h>

#include "index/text/stop_words.h"

#define CODE_TextLanguage 17262
#define DECOMPOSED_MAX 18 /* code points that one decomposes into at most (Unicode 15) */

status analyzer_open(struct analyzer *a, const struct mem *mem, struct slice language, struct err *err) {
    *a = (struct analyzer){0};
    buf_init(&a->folded, mem);
    if (slice_equal(language, SLICE_LIT("none"))) {
        a->no_stop_words = true;
        return ST_OK;
    }
    if (!slice_equal(language, SLICE_LIT("english")) && !slice_equal(language, SLICE_LIT("en"))) {
        return RAISE_CODE(err, CODE_TextLanguage, "unsupported language: \"%.*s\" for text index version 3 (supported: \"english\", \"none\")", (int) (language.len < 64 ? language.len : 64),
                          (const char *) language.p);
    }
    a->stemmer = sb_stemmer_new("english", "UTF_8");
    return a->stemmer != NULL ? ST_OK : RAISE(err, ST_NOMEM, "no memory for a stemmer");
}

void analyzer_close(struct analyzer *a) {
    if (a->stemmer != NULL) sb_stemmer_delete(a->stemmer);
    if (a->folded.mem != NULL) buf_release(&a->folded);
    a->stemmer = NULL;
}

bool analyzer_is_delimiter(int32_t c) {
    if (c < 0x80) return !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '\'');
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU: case UTF8PROC_CATEGORY_LL: case UTF8PROC_CATEGORY_LT: case UTF8PROC_CATEGORY_LM: case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN: case UTF8PROC_CATEGORY_MC: case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND: case UTF8PROC_CATEGORY_NL: case UTF8PROC_CATEGORY_NO: case UTF8PROC_CATEGORY_PC: case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CF: return false;
    case UTF8PROC_CATEGORY_SO: return c < 0x3000; /* the pictographs beyond are words of their own */
    default: return true;
    }
}

/* Scripts written without spaces. */
static bool is_unspaced(int32_t c) {
    return (c >= 0x3040 && c <= 0x30ff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x4e00 && c <= 0x9fff) || (c >= 0xf900 && c <= 0xfaff) || (c >= 0x20000 && c <= 0x3ffff);
}

/* The code point at p and how many bytes it takes; an invalid byte is a delimiter of one. */
static int32_t read_codepoint(const uint8_t *p, const uint8_t *end, size_t *len) {
    if (*p < 0x80) {
        *len = 1;
        return *p;
    }
    int32_t c;
    utf8proc_ssize_t n = utf8proc_iterate(p, end - p, &c);
    *len = n > 0 ? (size_t) n : 1;
    return n > 0 ? c : ' ';
}

static void fold_codepoint(const struct analyzer *a, int32_t c, struct buf *out) {
    utf8proc_int32_t parts[DECOMPOSED_MAX];
    int options = UTF8PROC_STABLE | (a->keep_case ? 0 : UTF8PROC_CASEFOLD) | (a->keep_diacritics ? 0 : UTF8PROC_DECOMPOSE | UTF8PROC_STRIPMARK);
    int last_class = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char(c, parts, DECOMPOSED_MAX, (utf8proc_option_t) options, &last_class);
    for (utf8proc_ssize_t i = 0; i < n && i < DECOMPOSED_MAX; i++) {
        uint8_t bytes[4];
        utf8proc_ssize_t len = utf8proc_encode_char(parts[i], bytes);
        (void) buf_append(out, bytes, (size_t) len);
    }
}

status analyzer_fold(const struct analyzer *a, struct slice text, struct buf *out, struct err *err) {
    const uint8_t *p = text.p, *end = p + text.len;
    while (p < end) {
        if (*p < 0x80) {
            (void) buf_append_u8(out, !a->keep_case && *p >= 'A' && *p <= 'Z' ? (uint8_t) (*p | 0x20) : *p);
            p++;
            continue;
        }
        size_t len;
        fold_codepoint(a, read_codepoint(p, end, &len), out);
        p += len;
    }
    return out->failed ? RAISE(err, ST_NOMEM, "no memory to fold a text") : ST_OK;
}

/* Cuts at a code point's start. */
static struct slice cut_term(struct slice term) {
    if (term.len <= TERM_LEN_MAX) return term;
    term.len = TERM_LEN_MAX;
    while (term.len > 0 && (term.p[term.len] & 0xc0) == 0x80) term.len--;
    return term;
}

typedef status (*term_visit)(void *ctx, struct slice term, struct slice raw, struct err *err);

static status emit_word(struct analyzer *a, struct slice raw, term_visit visit, void *ctx, struct err *err) {
    while (raw.len > 0 && raw.p[0] == '\'') raw = slice_of(raw.p + 1, raw.len - 1);
    while (raw.len > 0 && raw.p[raw.len - 1] == '\'') raw.len--;
    if (raw.len == 0) return ST_OK;
    buf_clear(&a->folded);
    TRY(analyzer_fold(a, raw, &a->folded, err));
    struct slice term = cut_term(buf_slice(&a->folded));
    if (term.len == 0 || (!a->no_stop_words && stop_word_english(term))) return ST_OK;
    if (a->stemmer != NULL) {
        const sb_symbol *stem = sb_stemmer_stem(a->stemmer, term.p, (int) term.len);
        if (stem == NULL) return RAISE(err, ST_NOMEM, "no memory to stem a word");
        term = slice_of(stem, (size_t) sb_stemmer_length(a->stemmer));
    }
    return term.len != 0 ? visit(ctx, term, raw, err) : ST_OK;
}

/* A run of unspaced characters: each pair, or the single one. */
static status emit_bigrams(struct analyzer *a, struct slice run, term_visit visit, void *ctx, struct err *err) {
    const uint8_t *p = run.p, *end = p + run.len;
    size_t first_len = 0, second_len = 0;
    (void) read_codepoint(p, end, &first_len);
    bool is_single = p + first_len == end;
    while (is_single || p + first_len < end) {
        if (!is_single) (void) read_codepoint(p + first_len, end, &second_len);
        struct slice raw = slice_of(p, first_len + second_len);
        buf_clear(&a->folded);
        TRY(analyzer_fold(a, raw, &a->folded, err));
        TRY(visit(ctx, buf_slice(&a->folded), raw, err));
        if (is_single) return ST_OK;
        p += first_len;
        first_len = second_len;
    }
    return ST_OK;
}

status analyzer_terms(struct analyzer *a, struct slice text, term_visit visit, void *ctx, struct err *err) {
    const uint8_t *p = text.p, *end = p + text.len;
    while (p < end) {
        size_t len;
        const uint8_t *start = p;
        int32_t c = read_codepoint(p, end, &len);
        p += len;
        if (analyzer_is_delimiter(c)) continue;
        bool unspaced = is_unspaced(c);
        while (p < end) {
            c = read_codepoint(p, end, &len);
            if (analyzer_is_delimiter(c) || is_unspaced(c) != unspaced) break;
            p += len;
        }
        struct slice run = slice_of(start, (size_t) (p - start));
        TRY(unspaced ? emit_bigrams(a, run, visit, ctx, err) : emit_word(a, run, visit, ctx, err));
    }
    return ST_OK;
}
