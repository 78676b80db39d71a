/* Filters, projections and sort patterns from hostile hands over hostile documents.
 *
 * The input is two documents (two_docs.h): what is read as filter, projection and pattern, and what it is asked about.
 * The first must compile or be refused, and match, project and sort without harm; what projection makes must be BSON
 * again. */
#include "eval/match.h"
#include "eval/project.h"
#include "eval/sort_key.h"
#include "two_docs.h"

static void try_match(struct arena *arena, struct bdoc filter, struct bdoc doc) {
    struct matcher m;
    struct err err = ERR_INIT;
    bool matches;
    if (match_compile(mem_default(), arena, filter, &m, &err) != ST_OK) return;
    (void) match_doc(&m, doc, &matches, &err);
    (void) match_value(&m, (struct bval){doc.p, doc.len, B_DOCUMENT}, &matches, &err);
    matcher_release(&m);
}

static void try_project(struct arena *arena, struct bdoc spec, struct bdoc doc) {
    struct projection *p;
    struct buf out;
    struct bdoc result;
    struct err err = ERR_INIT;
    if (projection_compile(mem_default(), arena, spec, &p, &err) != ST_OK) return;
    buf_init(&out, mem_default());
    if (projection_apply(p, doc, 1.0, &out, &result, &err) == ST_OK) check_result(result);
    buf_release(&out);
    projection_release(p);
}

static void try_sort(struct arena *arena, struct bdoc spec, struct bdoc doc) {
    struct sort_pattern pattern;
    struct buf key;
    struct err err = ERR_INIT;
    if (sort_pattern_parse(arena, spec, &pattern, &err) != ST_OK) return;
    buf_init(&key, mem_default());
    (void) sort_key_append(&pattern, doc, 1.0, arena, &key, &err);
    buf_release(&key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct two_docs two;
    struct arena arena;
    arena_init(&arena, mem_default());
    if (two_docs_read(&two, data, len)) {
        try_match(&arena, two.docs[0], two.docs[1]);
        try_project(&arena, two.docs[0], two.docs[1]);
        try_sort(&arena, two.docs[0], two.docs[1]);
    }
    two_docs_release(&two);
    arena_release(&arena);
    return 0;
}
