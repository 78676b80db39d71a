/* Any bytes as text and as $search: words are UTF-8 without NUL and not too long, folding is stable, and a document made of the text matches or not without harm. */
#include <stdlib.h>
#include <string.h>

#include "bson/build.h"
#include "index/text/query.h"

static status check_term(void *ctx, struct slice term, struct slice raw, struct err *err) {
    const struct slice *text = ctx;
    (void) err;
    if (term.len == 0 || term.len > TERM_LEN_MAX || memchr(term.p, 0, term.len) != NULL) abort();
    if (raw.len == 0 || raw.p < text->p || raw.p + raw.len > text->p + text->len) abort();
    return ST_OK;
}

static void analyze(struct slice text, enum text_language language, bool keep_case, bool keep_diacritics) {
    struct analyzer a;
    struct buf once, twice;
    if (analyzer_open(&a, mem_default(), language, NULL) != ST_OK) abort();
    a.keep_case = keep_case;
    a.keep_diacritics = keep_diacritics;
    if (analyzer_terms(&a, text, check_term, &text, NULL) != ST_OK) abort();
    buf_init(&once, mem_default());
    buf_init(&twice, mem_default());
    if (analyzer_fold(&a, text, &once, NULL) != ST_OK || analyzer_fold(&a, buf_slice(&once), &twice, NULL) != ST_OK) abort();
    if (!slice_equal(buf_slice(&once), buf_slice(&twice))) abort();
    buf_release(&once);
    buf_release(&twice);
    analyzer_close(&a);
}

static void match(struct slice search, struct slice text, bool case_sensitive, bool diacritic_sensitive) {
    struct arena arena;
    struct buf doc_bytes;
    struct index_spec spec = {.kind = INDEX_TEXT, .text_all_fields = true};
    struct text_index ix = {.collection_id = 1, .index_id = 1, .spec = &spec};
    struct text_query *q;
    bool matches = false;
    double score = 0;
    arena_init(&arena, mem_default());
    buf_init(&doc_bytes, mem_default());
    struct bbuild b;
    bbuild_begin(&b, &doc_bytes);
    bbuild_slice(&b, "a", text);
    struct bdoc doc = bbuild_finish(&b);
    if (doc.p == NULL) abort();
    if (text_query_parse(&ix, search, SLICE_NONE, case_sensitive, diacritic_sensitive, &arena, &q, NULL) != ST_OK) abort();
    if (text_query_matches(&ix, q, doc, &arena, &matches, &score, NULL) != ST_OK) abort();
    if (matches && !(score > 0)) abort();
    buf_release(&doc_bytes);
    arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* The first byte chooses the sensitivity; the search stands before the first newline, the text behind it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    if (len == 0) return 0;
    struct slice all = slice_of(data + 1, len - 1);
    const uint8_t *line = memchr(all.p, '\n', all.len);
    size_t search_len = line != NULL ? (size_t) (line - all.p) : all.len / 2;
    analyze(all, data[0] & 4 ? TEXT_LANGUAGE_NONE : TEXT_LANGUAGE_ENGLISH, data[0] & 1, data[0] & 2);
    match(slice_of(all.p, search_len), slice_of(all.p + search_len, all.len - search_len), data[0] & 1, data[0] & 2);
    return 0;
}
