#include <criterion/criterion.h>
#include <libstemmer.h>
#include <math.h>
#include <stdio.h>

#include "index/text/analyze.h"
#include "index/text/score.h"
#include "support/mem_fail.h"
#include "support/random_bson.h"
#include "support/text_ease.h"

/* ---- words ---- */

static status join(void *ctx, struct slice term, struct slice raw, struct err *err) {
    struct buf *out = ctx;
    (void) err;
    cr_assert_gt(raw.len, 0);
    cr_assert_leq(term.len, TERM_LEN_MAX);
    if (out->len != 0) (void) buf_append_u8(out, '|');
    (void) buf_append_slice(out, term);
    return ST_OK;
}

static const char *terms(struct slice text, enum text_language language, bool keep_case, bool keep_diacritics) {
    static char joined[1 << 16];
    struct analyzer a;
    struct buf out;
    buf_init(&out, mem_default());
    cr_assert_eq(analyzer_open(&a, mem_default(), language, NULL), ST_OK);
    a.keep_case = keep_case;
    a.keep_diacritics = keep_diacritics;
    cr_assert_eq(analyzer_terms(&a, text, join, &out, NULL), ST_OK);
    analyzer_close(&a);
    cr_assert_lt(out.len, sizeof(joined));
    if (out.len != 0) memcpy(joined, out.p, out.len);
    joined[out.len] = 0;
    buf_release(&out);
    return joined;
}

struct word_case {
    const char *text, *english, *none;
};

static const struct word_case word_cases[] = {
    {"", "", ""},
    {"   \t\n", "", ""},
    {"The quick brown foxes jumped", "quick|brown|fox|jump", "the|quick|brown|foxes|jumped"},
    {"Running RUNNER runs", "run|runner|run", "running|runner|runs"},
    {"don't can't we're", "", "don|t|can|t|we|re"},
    {"dog's dogs' 'dogs' ''", "dog|dog|dog", "dog|s|dogs|dogs"},
    {"rock'n'roll", "rock'n'rol", "rock|n|roll"},
    {"snake_case and-dash a/b", "snake_cas|dash|b", "snake_case|and|dash|a|b"},
    {"x86 3.14 C++ 2023-01-02", "x86|3|14|c|2023|01|02", "x86|3|14|c|2023|01|02"},
    {"Café CAFE\u0301 cafe", "cafe|cafe|cafe", "cafe|cafe|cafe"},
    {"Straße STRASSE", "strass|strass", "strasse|strasse"},
    {"ΑΘΗΝΑ Αθήνα", "αθηνα|αθηνα", "αθηνα|αθηνα"},
    {"Москва МОСКВА", "москва|москва", "москва|москва"},
    {"İstanbul", "istanbul", "istanbul"},
    {"東京都", "東京|京都", "東京|京都"},
    {"東", "東", "東"},
    {"東京tower", "東京|tower", "東京|tower"},
    {"ひらがな", "ひら|らか|かな", "ひら|らか|かな"}, /* the voiced mark is a diacritic */
    {"\u3099", "", ""},
    {"कल काल", "कल|काल", "कल|काल"}, /* a vowel sign is none */
    {"don\u2019t", "don|t", "don|t"},
    {"\u00abzitat\u00bb \u201cquoted\u201d", "zitat|quot", "zitat|quoted"},
    {"a\u00a0b\u3000c", "b|c", "a|b|c"},
    {"\u0301", "", ""},
    {"f\xff"
     "oo \xc3 b\xe2\x82",
     "f|oo|b", "f|oo|b"},
    {"\xed\xa0\x80surrogate", "surrog", "surrogate"},
};

Test(text_analyze, words_are_found_folded_and_stemmed) {
    for (size_t i = 0; i < sizeof(word_cases) / sizeof(word_cases[0]); i++) {
        const struct word_case *c = &word_cases[i];
        cr_expect_str_eq(terms(slice_str(c->text), TEXT_LANGUAGE_ENGLISH, false, false), c->english,
                         "%zu english '%s': %s", i, c->text,
                         terms(slice_str(c->text), TEXT_LANGUAGE_ENGLISH, false, false));
        cr_expect_str_eq(terms(slice_str(c->text), TEXT_LANGUAGE_NONE, false, false), c->none, "%zu none '%s': %s", i,
                         c->text, terms(slice_str(c->text), TEXT_LANGUAGE_NONE, false, false));
    }
}

Test(text_analyze, case_and_diacritics_are_kept_on_demand) {
    struct slice text = slice_str("The Café THE cafe\u0301 DOGS");
    cr_expect_str_eq(terms(text, TEXT_LANGUAGE_ENGLISH, true, false), "Cafe|cafe|DOGS");
    cr_expect_str_eq(terms(text, TEXT_LANGUAGE_ENGLISH, false, true), "cafe\u0301|cafe\u0301|dog");
    cr_expect_str_eq(terms(text, TEXT_LANGUAGE_ENGLISH, true, true), "Cafe\u0301|cafe\u0301|DOGS");
}

Test(text_analyze, a_zero_byte_separates_words) {
    cr_expect_str_eq(terms(SLICE_LIT("foo\0bar"), TEXT_LANGUAGE_ENGLISH, false, false), "foo|bar");
}

Test(text_analyze, long_words_are_cut_at_a_character) {
    char text[2000] = "";
    memset(text, 'x', 1000);
    const char *t = terms(slice_str(text), TEXT_LANGUAGE_ENGLISH, false, false);
    cr_assert_eq(strlen(t), TERM_LEN_MAX);
    text[0] = 'y';
    for (size_t i = 1; i + 2 <= 1000; i += 2) memcpy(text + i, "\xd0\xb6", 2); /* ж */
    text[999] = 0;
    t = terms(slice_str(text), TEXT_LANGUAGE_NONE, false, false);
    cr_assert_eq(strlen(t), TERM_LEN_MAX - 1);
}

Test(text_analyze, remembered_stems_are_the_stems) {
    struct analyzer a;
    struct sb_stemmer *stemmer = sb_stemmer_new("english", "UTF_8");
    struct chance chance;
    chance_init(&chance, random_seed(3));
    cr_assert_eq(analyzer_open(&a, mem_default(), TEXT_LANGUAGE_ENGLISH, NULL), ST_OK);
    for (int i = 0; i < 20000; i++) {
        static const char *const ends[] = {"",        "s",    "ing", "ed",  "ly",      "ation",
                                           "ational", "izer", "'s",  "hop", "hopping", "e"};
        char word[64];
        struct buf out;
        (void) snprintf(word, sizeof(word), "z%c%c%c%s", (int) ('a' + chance_below(&chance, 26)),
                        (int) ('a' + chance_below(&chance, 26)), (int) ('a' + chance_below(&chance, 4)),
                        ends[chance_below(&chance, sizeof(ends) / sizeof(ends[0]))]);
        buf_init(&out, mem_default());
        cr_assert_eq(analyzer_terms(&a, slice_str(word), join, &out, NULL), ST_OK);
        const sb_symbol *want = sb_stemmer_stem(stemmer, (const sb_symbol *) word, (int) strlen(word));
        cr_assert(slice_equal(buf_slice(&out), slice_of(want, (size_t) sb_stemmer_length(stemmer))), "%s", word);
        buf_release(&out);
    }
    cr_assert_not_null(a.stems);
    analyzer_close(&a);
    sb_stemmer_delete(stemmer);
}

Test(text_analyze, random_bytes_do_no_harm) {
    uint64_t seed = random_seed(17);
    struct chance chance;
    chance_init(&chance, seed);
    for (uint64_t round = 0; round < random_rounds(3000); round++) {
        uint8_t bytes[200];
        size_t len = chance_below(&chance, sizeof(bytes));
        for (size_t i = 0; i < len; i++)
            bytes[i] = chance_below(&chance, 3) == 0 ? (uint8_t) chance_next(&chance)
                                                     : (uint8_t) (0xe3 + chance_below(&chance, 3) * 0x9d);
        uint8_t *copy = malloc(len + 1); /* to its last byte, for the sanitizer */
        uint8_t *exact = realloc(copy, len != 0 ? len : 1);
        memcpy(exact, bytes, len);
        for (int k = 0; k < 4; k++)
            (void) terms(slice_of(exact, len), k & 1 ? TEXT_LANGUAGE_ENGLISH : TEXT_LANGUAGE_NONE, k & 2, k & 1);
        free(exact);
    }
}

Test(text_analyze, languages_have_names) {
    enum text_language l;
    struct err err = ERR_INIT;
    cr_assert_eq(text_language_parse(SLICE_LIT("English"), &l, NULL), ST_OK);
    cr_assert_eq(l, TEXT_LANGUAGE_ENGLISH);
    cr_assert_eq(text_language_parse(SLICE_LIT("EN"), &l, NULL), ST_OK);
    cr_assert_eq(text_language_parse(SLICE_LIT("none"), &l, NULL), ST_OK);
    cr_assert_eq(l, TEXT_LANGUAGE_NONE);
    static const char *const unknown[] = {"", "e", "eng", "englishx", "klingon"};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        cr_assert_eq(text_language_parse(slice_str(unknown[i]), &l, &err), ST_INVALID, "%s", unknown[i]);
        cr_assert_eq(err.code, 17262);
    }
}

/* ---- scores ---- */

/* MongoDB's formula, computed from a list of words that the test has stemmed by hand. */
static double formula(const char *const *words, const char *term, double weight, bool is_all) {
    double n = 0, c = 0, freq = 0;
    for (; *words != NULL; words++) {
        n++;
        if (strcmp(*words, term) != 0) continue;
        freq += pow(2, -c);
        c++;
    }
    return weight * freq * (0.5 * c / n + 0.5) * (is_all ? 1.1 : 1);
}

static double score_of(const char *spec, struct bdoc doc, const char *term) {
    struct text_ease t;
    struct arena arena;
    struct analyzers analyzers;
    struct doc_terms got;
    struct err err = ERR_INIT;
    text_ease_open(&t, NULL, spec);
    arena_init(&arena, mem_default());
    analyzers_init(&analyzers, mem_default());
    status st = doc_terms_of(&t.spec, doc, &analyzers, &arena, &got, &err);
    cr_assert_eq(st, ST_OK, "%s", err.text);
    for (uint32_t i = 1; i < got.count; i++) cr_assert_lt(slice_compare(got.terms[i - 1].term, got.terms[i].term), 0);
    const struct term_score *s = doc_terms_find(&got, slice_str(term));
    double score = s != NULL ? s->score : 0;
    analyzers_release(&analyzers);
    arena_release(&arena);
    arena_release(&t.arena);
    return score;
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define BODY "{key: {body: 'text'}}"

Test(text_score, follows_the_formula) {
    cr_expect_float_eq(score_of(BODY, text_doc("{body: 'coffee'}"), "coffe"), 1.0,
                       1e-12); /* the raw value is not the stem: no tenth more */
    cr_expect_float_eq(score_of(BODY, text_doc("{body: 'cake'}"), "cake"), 1.1, 1e-12);
    cr_expect_float_eq(score_of(BODY, text_doc("{body: 'CaKe'}"), "cake"), 1.1, 1e-12);
    cr_expect_float_eq(score_of(BODY, text_doc("{body: 'coffee and cake'}"), "cake"), 0.75, 1e-12);
    const char *const *words = WORDS("cake", "cake", "tea", "cake", "tea");
    struct bdoc doc = text_doc("{body: 'cake, cakes; the tea! CAKE -- tea'}");
    cr_expect_float_eq(score_of(BODY, doc, "cake"), formula(words, "cake", 1, false), 1e-12);
    cr_expect_float_eq(score_of(BODY, doc, "cake"), 1.75 * 0.8, 1e-12);
    cr_expect_float_eq(score_of(BODY, doc, "tea"), formula(words, "tea", 1, false), 1e-12);
    cr_expect_eq(score_of(BODY, doc, "the"), 0);
    cr_expect_eq(score_of(BODY, text_doc("{other: 'cake'}"), "cake"), 0);
}

#define WEIGHTED "{key: {title: 'text', 'a.b': 'text'}, weights: {title: 10}}"

Test(text_score, adds_up_over_values_and_weights) {
    struct bdoc doc = text_doc(
        "{title: 'apple pie', a: [{b: 'apple'}, {b: ['pie pie', 'apple tea', 5, ['no']]}, 'no', [{b: 'no'}]]}");
    double apple = formula(WORDS("appl", "pie"), "appl", 10, false) + formula(WORDS("appl"), "appl", 1, false) +
        formula(WORDS("appl", "tea"), "appl", 1, false);
    double pie = formula(WORDS("appl", "pie"), "pie", 10, false) + formula(WORDS("pie", "pie"), "pie", 1, false);
    cr_expect_float_eq(score_of(WEIGHTED, doc, "appl"), apple, 1e-12);
    cr_expect_float_eq(score_of(WEIGHTED, doc, "pie"), pie, 1e-12);
    cr_expect_eq(score_of(WEIGHTED, doc, "no"), 0);
}

Test(text_score, reads_every_string_under_a_wildcard) {
    const char *spec = "{key: {'$**': 'text'}, weights: {'a.b': 5}}";
    struct bdoc doc = text_doc("{_id: 'plum', language: 'english', a: {b: 'plum', c: ['plum tree', ['plum']]}, n: 5}");
    double want = 1.1 + 5 * 1.1 + 0.75 + 1.1;
    cr_expect_float_eq(score_of(spec, doc, "plum"), want, 1e-12);
    cr_expect_eq(score_of(spec, doc, "english"), 0);
    cr_expect_eq(score_of(spec, doc, "english"), 0);
}

Test(text_score, obeys_language_fields_at_every_level) {
    struct bdoc doc = text_doc("{language: 'none', title: 'dogs', a: [{b: 'dogs', language: 'english'}, {b: 'dogs'}]}");
    cr_expect_float_eq(score_of(WEIGHTED, doc, "dogs"), 11 + 1.1, 1e-12);
    cr_expect_float_eq(score_of(WEIGHTED, doc, "dog"), 1, 1e-12);
    cr_expect_float_eq(score_of("{key: {t: 'text'}, default_language: 'none', language_override: 'idioma'}",
                                text_doc("{t: 'the dogs', language: 5}"), "the"),
                       0.75, 1e-12);
    cr_expect_float_eq(score_of("{key: {t: 'text'}, default_language: 'none', language_override: 'idioma'}",
                                text_doc("{t: 'the dogs', idioma: 'english'}"), "dog"),
                       1, 1e-12);
}

Test(text_score, refuses_languages_it_does_not_know) {
    struct text_ease t;
    struct arena arena;
    struct analyzers analyzers;
    struct doc_terms got;
    struct err err = ERR_INIT;
    text_ease_open(&t, NULL, BODY);
    arena_init(&arena, mem_default());
    analyzers_init(&analyzers, mem_default());
    cr_assert_eq(doc_terms_of(&t.spec, text_doc("{body: 'a', language: 5}"), &analyzers, &arena, &got, &err),
                 ST_INVALID);
    cr_assert_eq(err.code, 17261);
    cr_assert_eq(doc_terms_of(&t.spec, text_doc("{body: 'a', language: 'klingon'}"), &analyzers, &arena, &got, &err),
                 ST_INVALID);
    cr_assert_eq(err.code, 17262);
    analyzers_release(&analyzers);
    arena_release(&arena);
    arena_release(&t.arena);
}

Test(text_score, random_texts_score_as_the_formula_says) {
    static const char *const vocabulary[] = {"tree", "leaf", "stone", "cloud", "zq", "moth"};
    uint64_t seed = random_seed(5);
    struct chance chance;
    chance_init(&chance, seed);
    for (int round = 0; round < 300; round++) {
        const char *words[2000];
        size_t n = 1 + chance_below(&chance, round % 10 == 0 ? 1500 : 12), at = 0;
        char *text = malloc(n * 8 + 1);
        for (size_t i = 0; i < n; i++) {
            words[i] = vocabulary[chance_below(&chance, sizeof(vocabulary) / sizeof(vocabulary[0]))];
            at += (size_t) sprintf(text + at, "%s ", words[i]);
        }
        words[n] = NULL;
        struct bdoc doc = text_doc("{body: '%s'}", text);
        for (size_t i = 0; i < sizeof(vocabulary) / sizeof(vocabulary[0]); i++) {
            double want = formula(words, vocabulary[i], 1, false);
            bool occurs = want > 0;
            double got = score_of(BODY, doc, vocabulary[i]);
            cr_assert(fabs(got - (occurs ? want : 0)) < 1e-9, "seed %llu: %s in %s", (unsigned long long) seed,
                      vocabulary[i], text);
        }
        free(text);
    }
}

Test(text_score, survives_every_failing_allocation) {
    struct text_ease t;
    struct bdoc doc = text_doc("{body: ['one two three four', 'five six seven'], language: 'english'}");
    text_ease_open(&t, NULL, BODY);
    for (uint64_t n = 1;; n++) {
        struct mem_fail mf;
        struct arena arena;
        struct analyzers analyzers;
        struct doc_terms got;
        mem_fail_init(&mf, n);
        arena_init(&arena, &mf.mem);
        analyzers_init(&analyzers, &mf.mem);
        status st = doc_terms_of(&t.spec, doc, &analyzers, &arena, &got, NULL);
        cr_assert(st == (mem_fail_hit(&mf) ? ST_NOMEM : ST_OK));
        analyzers_release(&analyzers);
        arena_release(&arena);
        cr_assert_eq(mem_fail_live(&mf), 0);
        if (!mem_fail_hit(&mf)) break;
    }
    arena_release(&t.arena);
}
