/* Words, folding and stemming; see analyze.h. */
#include "index/text/analyze.h"

#include <libstemmer.h>
#include <utf8proc.h>

#include "base/hash.h"
#include "index/text/stop_words.h"

#define CODE_TextLanguage 17262
#define DECOMPOSED_MAX 18 /* code points that one decomposes into at most (Unicode 15) */

/* ---- languages ---- */

static bool is_name(struct slice name, const char *wanted) {
    size_t i = 0;
    for (; i < name.len && wanted[i] != 0; i++) {
        if ((name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] | 0x20 : name.p[i]) != (uint8_t) wanted[i]) return false;
    }
    return i == name.len && wanted[i] == 0;
}

status text_language_parse(struct slice name, enum text_language *out, struct err *err) {
    if (is_name(name, "none")) *out = TEXT_LANGUAGE_NONE;
    else if (is_name(name, "english") || is_name(name, "en")) *out = TEXT_LANGUAGE_ENGLISH;
    else
        return RAISE_CODE(err, CODE_TextLanguage,
                          "unsupported language: \"%.*s\" for text index version 3 (supported: \"english\", \"none\")",
                          (int) (name.len < 64 ? name.len : 64), (const char *) name.p);
    return ST_OK;
}

status analyzer_open(struct analyzer *a, const struct mem *mem, enum text_language language, struct err *err) {
    *a = (struct analyzer){.language = language};
    buf_init(&a->folded, mem);
    if (language == TEXT_LANGUAGE_NONE) return ST_OK;
    a->stemmer = sb_stemmer_new("english", "UTF_8");
    return a->stemmer != NULL ? ST_OK : RAISE(err, ST_NOMEM, "no memory for a stemmer");
}

void analyzers_init(struct analyzers *set, const struct mem *mem) { *set = (struct analyzers){.mem = mem}; }

void analyzers_release(struct analyzers *set) {
    for (int i = 0; i < TEXT_LANGUAGE_COUNT; i++) {
        if (set->is_open[i]) analyzer_close(&set->of[i]);
        set->is_open[i] = false;
    }
}

status analyzers_get(struct analyzers *set, enum text_language language, struct analyzer **out, struct err *err) {
    struct analyzer *a = &set->of[language];
    if (!set->is_open[language]) {
        TRY(analyzer_open(a, set->mem, language, err));
        a->keep_case = set->keep_case;
        a->keep_diacritics = set->keep_diacritics;
        set->is_open[language] = true;
    }
    *out = a;
    return ST_OK;
}

/* ---- stems ---- */

/* The stems of words seen before, one place a word: stemming costs more than all the rest of the analysis, and texts use few words most of the time. */
#define STEM_PLACES 4096
#define STEM_WORD_MAX 23    /* longer words are not kept */
#define STEM_WORDS_MIN 2000 /* words after which the cache is made: an analyser of one document does without */

struct stem_place {
    uint8_t word_len, stem_len; /* 0: empty */
    uint8_t word[STEM_WORD_MAX], stem[STEM_WORD_MAX];
};

struct stem_cache {
    struct stem_place places[STEM_PLACES];
};

void analyzer_close(struct analyzer *a) {
    if (a->stemmer != NULL) sb_stemmer_delete(a->stemmer);
    if (a->stems != NULL) mem_delete(a->folded.mem, a->stems);
    if (a->folded.mem != NULL) buf_release(&a->folded);
    a->stemmer = NULL;
    a->stems = NULL;
}

/* The place for a word, NULL for none. Without memory there is no cache. */
static struct stem_place *stem_place(struct analyzer *a, struct slice word) {
    if (a->stems == NULL) {
        if (++a->word_count < STEM_WORDS_MIN) return NULL;
        a->word_count = 0;
        a->stems = mem_new(a->folded.mem, struct stem_cache);
    }
    if (a->stems == NULL || word.len > STEM_WORD_MAX) return NULL;
    return &a->stems->places[hash64(word.p, word.len, 0) & (STEM_PLACES - 1)];
}

/* A stem is never longer than its word by more than its last letter ("hop-" gives "hope"). */
static status stem_word(struct analyzer *a, struct slice *term, struct err *err) {
    struct stem_place *place = stem_place(a, *term);
    if (place != NULL && place->word_len == term->len && memcmp(place->word, term->p, term->len) == 0) {
        *term = slice_of(place->stem, place->stem_len);
        return ST_OK;
    }
    const sb_symbol *stem = sb_stemmer_stem(a->stemmer, term->p, (int) term->len);
    if (stem == NULL) return RAISE(err, ST_NOMEM, "no memory to stem a word");
    struct slice out = slice_of(stem, (size_t) sb_stemmer_length(a->stemmer));
    if (place != NULL && out.len <= STEM_WORD_MAX) {
        place->word_len = (uint8_t) term->len;
        place->stem_len = (uint8_t) out.len;
        memcpy(place->word, term->p, term->len);
        if (out.len != 0) memcpy(place->stem, out.p, out.len);
    }
    *term = out;
    return ST_OK;
}

/* ---- code points ---- */

/* Does the code point separate words? */
static bool is_delimiter(const struct analyzer *a, int32_t c) {
    if (c < 0x80)
        return !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
                 (c == '\'' && a->language == TEXT_LANGUAGE_ENGLISH));
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CF: return false;
    case UTF8PROC_CATEGORY_SO: return c < 0x3000; /* the pictographs beyond are words of their own */
    default: return true;
    }
}

/* Scripts written without spaces. */
static bool is_unspaced(int32_t c) {
    return (c >= 0x3040 && c <= 0x30ff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x4e00 && c <= 0x9fff) ||
        (c >= 0xf900 && c <= 0xfaff) || (c >= 0x20000 && c <= 0x3ffff);
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

/* A diacritic: a mark that combines. The vowel signs of Indic scripts are marks of class 0 and stay. */
static bool is_diacritic(int32_t c) { return utf8proc_get_property(c)->combining_class != 0; }

/* Always decomposed, so that both ways to write a letter give one term. */
static void fold_codepoint(const struct analyzer *a, int32_t c, struct buf *out) {
    utf8proc_int32_t parts[DECOMPOSED_MAX];
    int options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (a->keep_case ? 0 : UTF8PROC_CASEFOLD), last_class = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char(c, parts, DECOMPOSED_MAX, (utf8proc_option_t) options, &last_class);
    for (utf8proc_ssize_t i = 0; i < n && i < DECOMPOSED_MAX; i++) {
        uint8_t bytes[4];
        if (!a->keep_diacritics && is_diacritic(parts[i])) continue;
        utf8proc_ssize_t len = utf8proc_encode_char(parts[i], bytes);
        (void) buf_append(out, bytes, (size_t) len);
    }
}

status analyzer_fold(const struct analyzer *a, struct slice text, struct buf *out, struct err *err) {
    if (text.len == 0) return ST_OK;
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

/* Whatever its case. */
static bool is_stop_word(struct slice term) {
    uint8_t lower[STOP_WORD_LEN_MAX];
    if (term.len > sizeof(lower)) return false;
    for (size_t i = 0; i < term.len; i++)
        lower[i] = term.p[i] >= 'A' && term.p[i] <= 'Z' ? term.p[i] | 0x20 : term.p[i];
    return stop_word_english(slice_of(lower, term.len));
}

/* ---- words ---- */

typedef status (*term_visit)(void *ctx, struct slice term, struct slice raw, struct err *err);

static status emit_word(struct analyzer *a, struct slice raw, term_visit visit, void *ctx, struct err *err) {
    while (raw.len > 0 && raw.p[0] == '\'') raw = slice_of(raw.p + 1, raw.len - 1);
    while (raw.len > 0 && raw.p[raw.len - 1] == '\'') raw.len--;
    if (raw.len == 0) return ST_OK;
    buf_clear(&a->folded);
    TRY(analyzer_fold(a, raw, &a->folded, err));
    struct slice term = cut_term(buf_slice(&a->folded));
    if (term.len == 0) return ST_OK;
    if (a->language == TEXT_LANGUAGE_ENGLISH) {
        if (is_stop_word(term)) return ST_OK;
        TRY(stem_word(a, &term, err));
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
        if (a->folded.len != 0) TRY(visit(ctx, buf_slice(&a->folded), raw, err));
        if (is_single) return ST_OK;
        p += first_len;
        first_len = second_len;
    }
    return ST_OK;
}

status analyzer_terms(struct analyzer *a, struct slice text, term_visit visit, void *ctx, struct err *err) {
    if (text.len == 0) return ST_OK;
    const uint8_t *p = text.p, *end = p + text.len;
    while (p < end) {
        size_t len;
        const uint8_t *start = p;
        int32_t c = read_codepoint(p, end, &len);
        p += len;
        if (is_delimiter(a, c)) continue;
        bool unspaced = is_unspaced(c);
        while (p < end) {
            c = read_codepoint(p, end, &len);
            if (is_delimiter(a, c) || is_unspaced(c) != unspaced) break;
            p += len;
        }
        struct slice run = slice_of(start, (size_t) (p - start));
        TRY(unspaced ? emit_bigrams(a, run, visit, ctx, err) : emit_word(a, run, visit, ctx, err));
    }
    return ST_OK;
}
