/* Pipelines: optimized and not, indexed and not, give the same rows; every allocation may fail; memory has a limit. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "query/pipeline.h"
#include "support/mem_fail.h"
#include "support/query_ease.h"
#include "support/random_bson.h"

static struct pipeline_request pipeline_of(const char *stages) {
    return (struct pipeline_request){.ns = NS, .pipeline = json("%s", stages), .hint = BVAL_MISSING};
}

/* Rows as text, sorted when their order means nothing. */
static char *rows_of(struct doc_db *t, const struct pipeline_request *req, bool sorted, status *st) {
    struct pipeline *p;
    struct bdoc d;
    char *rows[512];
    int count = 0;
    struct buf out;
    buf_init(&out, mem_default());
    t->err = ERR_INIT;
    *st = pipeline_open(&t->op, req, &p, &t->err);
    if (*st == ST_OK) {
        while ((*st = pipeline_next(&t->op, p, &d, &t->err)) == ST_OK && count < 512)
            rows[count++] = strdup(text_of(d));
        pipeline_close(p);
    }
    for (int i = 1; sorted && i < count; i++) {
        for (int k = i; k > 0 && strcmp(rows[k - 1], rows[k]) > 0; k--) {
            char *swap = rows[k];
            rows[k] = rows[k - 1];
            rows[k - 1] = swap;
        }
    }
    for (int i = 0; i < count; i++) {
        (void) buf_append(&out, rows[i], strlen(rows[i]));
        (void) buf_append_u8(&out, '\n');
        free(rows[i]);
    }
    (void) buf_append_u8(&out, 0);
    char *text = strdup((char *) out.p);
    buf_release(&out);
    return text;
}

static int below(struct chance *chance, int n) { return (int) chance_below(chance, (uint64_t) n); }

static void fill(struct doc_db *t, struct chance *chance, int count) {
    static const char *const cities[] = {"Bern", "Genf", "Basel"};
    for (int i = 0; i < count; i++)
        cr_assert_eq(insert(t,
                            json("{'_id': %d, 'a': %d, 'b': [%d, %d], 'c': '%s', 'o': {'x': %d}}", i, below(chance, 6),
                                 below(chance, 4), below(chance, 4), cities[below(chance, 3)], below(chance, 5))),
                     ST_OK);
}

/* Stages that keep no order of their own, and such as need one to mean anything. */
static void append_stage(struct chance *chance, char *out, size_t cap, int i) {
    static const char *const stages[] = {
        "{'$match': {'a': {'$gt': 2}}}",
        "{'$match': {'b': 1, 'c': {'$ne': 'Genf'}}}",
        "{'$match': {'o.x': {'$in': [1, 2, 3]}}}",
        "{'$match': {'$expr': {'$lt': ['$a', '$o.x']}}}",
        "{'$match': {'$or': [{'a': 1}, {'b': 3}]}}",
        "{'$addFields': {'z': {'$add': ['$a', 1]}, 'o.y': '$c'}}",
        "{'$set': {'a': {'$mod': ['$a', 3]}}}",
        "{'$project': {'a': 1, 'b': 1, 'c': 1, 'o': 1, 'q': {'$concat': ['$c', '!']}}}",
        "{'$project': {'c': 0}}",
        "{'$unwind': '$b'}",
        "{'$unwind': {'path': '$b', 'includeArrayIndex': 'i', 'preserveNullAndEmptyArrays': true}}",
        "{'$unset': 'o.x'}",
        "{'$sort': {'a': 1, '_id': -1, 'b': 1}}",
        "{'$sort': {'_id': 1, 'b': 1, 'i': 1}}",
        "{'$sort': {'_id': 1, 'b': 1, 'i': 1}}, {'$skip': 3}, {'$limit': 7}",
        "{'$sort': {'a': -1, '_id': 1, 'b': 1, 'i': 1}}, {'$limit': 9}",
        "{'$lookup': {'from': 'c', 'localField': 'a', 'foreignField': '_id', 'as': 'l'}}",
        "{'$lookup': {'from': 'c', 'let': {'v': '$a'}, 'pipeline': [{'$match': {'$expr': {'$eq': ['$_id', '$$v']}}}, "
        "{'$project': {'c': 1}}], 'as': 'l'}}",
        "{'$group': {'_id': '$c', 'a': {'$sum': '$a'}, 'b': {'$max': '$o.x'}}}",
        "{'$group': {'_id': {'a': '$a'}, 'c': {'$min': '$c'}, 'n': {'$count': {}}}}",
        "{'$replaceWith': {'$mergeObjects': ['$$ROOT', '$o']}}",
        "{'$setWindowFields': {'partitionBy': '$c', 'sortBy': {'_id': 1, 'b': 1, 'i': 1}, 'output': {'w': {'$sum': "
        "'$a', 'window': {'documents': [-2, 1]}}}}}",
        "{'$setWindowFields': {'sortBy': {'_id': -1, 'b': 1, 'i': 1}, 'output': {'a': {'$shift': {'output': '$a', "
        "'by': 1, 'default': 0}}, 'o.x': {'$max': '$o.x'}}}}",
    };
    size_t n = strlen(out);
    (void) snprintf(out + n, cap - n, "%s%s", i == 0 ? "" : ", ",
                    stages[below(chance, sizeof(stages) / sizeof(stages[0]))]);
}

Test(pipeline, gives_the_same_rows_optimized_and_not_indexed_and_not) {
    uint64_t seed = random_seed(11), rounds = random_rounds(300);
    struct chance chance;
    struct doc_db plain, indexed;
    doc_open(&plain);
    doc_open(&indexed);
    chance_init(&chance, seed);
    fill(&plain, &chance, 40);
    chance_init(&chance, seed);
    fill(&indexed, &chance, 40);
    cr_assert_eq(create_index(&indexed, "{'key': {'a': 1, '_id': -1}}"), ST_OK);
    cr_assert_eq(create_index(&indexed, "{'key': {'b': 1}}"), ST_OK);
    cr_assert_eq(create_index(&indexed, "{'key': {'o.x': 1, 'c': 1}}"), ST_OK);
    for (uint64_t round = 0; round < rounds; round++) {
        char spelled[4096] = "{'s': [";
        int count = below(&chance, 5) + 1;
        for (int i = 0; i < count; i++) append_stage(&chance, spelled, sizeof(spelled) - 4, i);
        (void) strcat(spelled, "]}");
        struct bdoc stages = bval_doc(bdoc_get_str(json("%s", spelled), "s"));
        struct pipeline_request req = {.ns = NS, .pipeline = stages, .hint = BVAL_MISSING}, naive = req;
        naive.is_plain = true;
        bool sorted = true;
        status s1, s2, s3;
        char *want = rows_of(&plain, &naive, sorted, &s1), *opt = rows_of(&plain, &req, sorted, &s2),
             *ix = rows_of(&indexed, &req, sorted, &s3);
        cr_assert(s1 == s2 && s1 == s3, "seed %llu round %llu: %s: %d %d %d %s", (unsigned long long) seed,
                  (unsigned long long) round, spelled, s1, s2, s3, indexed.err.text);
        cr_assert_str_eq(opt, want, "seed %llu round %llu optimized: %s\n%s---\n%s", (unsigned long long) seed,
                         (unsigned long long) round, spelled, opt, want);
        cr_assert_str_eq(ix, want, "seed %llu round %llu indexed: %s\n%s---\n%s", (unsigned long long) seed,
                         (unsigned long long) round, spelled, ix, want);
        free(want);
        free(opt);
        free(ix);
    }
    doc_close(&plain);
    doc_close(&indexed);
}

static void sweep(struct doc_db *t, const char *stages) {
    struct pipeline_request req = pipeline_of(stages);
    status st;
    char *want = rows_of(t, &req, false, &st);
    cr_assert_eq(st, ST_END, "%s: %s", stages, t->err.text);
    int count = 0;
    for (char *p = want; *p != 0; p++) count += *p == '\n';
    free(want);
    for (uint64_t n = 1;; n++) {
        struct mem_fail mf;
        struct op op;
        struct pipeline *p;
        struct bdoc d;
        struct err err = ERR_INIT;
        int rows = 0;
        mem_fail_init(&mf, n);
        op_init(&op, t->db);
        op.mem = &mf.mem;
        op.arena.mem = &mf.mem;
        st = pipeline_open(&op, &req, &p, &err);
        if (st == ST_OK) {
            while ((st = pipeline_next(&op, p, &d, &err)) == ST_OK) rows++;
            pipeline_close(p);
        }
        op_release(&op);
        cr_assert_eq(mem_fail_live(&mf), 0, "%s: allocation %llu leaked", stages, (unsigned long long) n);
        if (st == ST_END) cr_assert_eq(rows, count, "%s: %d rows, %d wanted", stages, rows, count);
        else cr_assert_eq(st, ST_NOMEM, "%s: %d %s", stages, st, err.text);
        if (!mem_fail_hit(&mf)) break;
    }
}

Test(pipeline, that_finds_no_memory_says_so) {
    struct doc_db t;
    struct chance chance;
    chance_init(&chance, 5);
    doc_open(&t);
    fill(&t, &chance, 20);
    sweep(&t,
          "{'0': {'$match': {'a': {'$gt': 1}}}, '1': {'$sort': {'b': 1}}, '2': {'$limit': 5}, '3': {'$project': {'q': "
          "{'$concat': ['$c', 'x']}}}}");
    sweep(&t,
          "{'0': {'$group': {'_id': '$c', 'p': {'$push': '$b'}, 's': {'$addToSet': '$a'}, 'm': {'$max': '$c'}, 't': "
          "{'$topN': {'n': 2, 'sortBy': {'a': 1}, 'output': '$_id'}}}}, '1': {'$sort': {'_id': 1}}}");
    sweep(&t,
          "{'0': {'$unwind': '$b'}, '1': {'$lookup': {'from': 'c', 'let': {'v': '$b'}, 'pipeline': [{'$match': "
          "{'$expr': {'$eq': ['$a', '$$v']}}}], 'as': 'l'}}, '2': {'$limit': 2}}");
    sweep(&t,
          "{'0': {'$lookup': {'from': 'c', 'localField': 'a', 'foreignField': '_id', 'as': 'l'}}, '1': {'$limit': 3}, "
          "'2': {'$unionWith': 'c'}, '3': {'$count': 'n'}}");
    sweep(&t,
          "{'0': {'$facet': {'x': [{'$count': 'n'}], 'y': [{'$sortByCount': '$c'}]}}, '1': {'$replaceWith': "
          "{'$mergeObjects': ['$$ROOT', {'k': {'$reduce': {'input': '$y', 'initialValue': [], 'in': {'$concatArrays': "
          "['$$value', ['$$this._id']]}}}}]}}}");
    sweep(&t,
          "{'0': {'$project': {'r': {'$regexFindAll': {'input': '$c', 'regex': '[aeiou]'}}, 'd': {'$dateToString': "
          "{'date': {'$toDate': {'$toLong': '$a'}}}}}}, '1': {'$match': {'$expr': {'$gt': [{'$size': '$r'}, 0]}}}, "
          "'2': {'$limit': 4}}");
    sweep(&t,
          "{'0': {'$setWindowFields': {'partitionBy': '$c', 'sortBy': {'a': 1}, 'output': {'s': {'$max': '$c', "
          "'window': {'documents': [-2, 1]}}, 'p': {'$push': '$b', 'window': {'range': [-1, 1]}}, 'd': {'$denseRank': "
          "{}}, 'i': {'$integral': {'input': '$a'}}}}}, '1': {'$limit': 6}}");
    doc_close(&t);
}

/* Windows that slide as two stacks against the same windows taken whole. */
Test(pipeline, windows_slide_to_what_they_hold) {
    uint64_t seed = random_seed(29), rounds = random_rounds(150);
    static const char *const values[] = {"%d",   "%d.25", "{'$numberLong': '%d'}", "{'$numberDecimal': '%d.5'}", "null",
                                         "'%d'", "[%d]"};
    struct chance chance;
    struct doc_db t;
    chance_init(&chance, seed);
    doc_open(&t);
    for (int i = 0; i < 300; i++) {
        char v[80];
        int kind = below(&chance, 12);
        (void) snprintf(v, sizeof(v), values[kind < 7 ? kind : 0], below(&chance, 50));
        cr_assert_eq(
            insert(&t, json("{'_id': %d, 'p': %d, 't': %d, 'v': %s}", i, below(&chance, 4), below(&chance, 80), v)),
            ST_OK);
    }
    for (uint64_t round = 0; round < rounds; round++) {
        char w[200], bound[2][20], spelled[4096];
        int lo = below(&chance, 12) - 6, hi = lo + below(&chance, 30);
        for (int i = 0; i < 2; i++) {
            int kind = below(&chance, 6);
            (void) snprintf(bound[i], sizeof(bound[i]), "%d", i == 0 ? lo : hi);
            if (kind == 0) (void) snprintf(bound[i], sizeof(bound[i]), "'unbounded'");
            if (kind == 1 && (i == 0 ? hi >= 0 : strcmp(bound[0], "'unbounded'") == 0 || lo <= 0))
                (void) snprintf(bound[i], sizeof(bound[i]), "'current'");
        }
        (void) snprintf(w, sizeof(w), "'window': {'%s': [%s, %s]}", below(&chance, 2) == 0 ? "range" : "documents",
                        bound[0], bound[1]);
        (void) snprintf(spelled, sizeof(spelled),
                        "{'0': {'$setWindowFields': {%s 'sortBy': {'t': 1}, 'output': {'p': {'$push': '$v', %s}, 's': "
                        "{'$sum': '$v', %s}, 'a': {'$avg': '$v', %s}, "
                        "'c': {'$count': {}, %s}, 'mn': {'$min': '$v', %s}, 'mx': {'$max': '$v', %s}, 'f': {'$first': "
                        "'$_id', %s}, 'i': {'$push': '$_id', %s}}}}, "
                        "'1': {'$match': {'$expr': {'$or': [{'$ne': ['$s', {'$sum': '$p'}]}, {'$ne': ['$a', {'$avg': "
                        "'$p'}]}, {'$ne': ['$c', {'$size': '$p'}]}, "
                        "{'$ne': ['$mn', {'$min': '$p'}]}, {'$ne': ['$mx', {'$max': '$p'}]}, {'$ne': ['$f', "
                        "{'$ifNull': [{'$first': '$i'}, null]}]}]}}}}",
                        below(&chance, 2) == 0 ? "'partitionBy': '$p'," : "", w, w, w, w, w, w, w, w);
        struct pipeline_request req = pipeline_of(spelled);
        status st;
        char *wrong = rows_of(&t, &req, false, &st);
        cr_assert_eq(st, ST_END, "seed %llu: %s: %s", (unsigned long long) seed, spelled, t.err.text);
        cr_assert_str_eq(wrong, "", "seed %llu round %llu: %s\n%s", (unsigned long long) seed,
                         (unsigned long long) round, w, wrong);
        free(wrong);
    }
    doc_close(&t);
}

Test(pipeline, holds_its_memory_limit) {
    static const char *const heavy[] = {
        "{'0': {'$sort': {'a': 1}}}",         "{'0': {'$group': {'_id': '$_id', 'p': {'$push': '$$ROOT'}}}}",
        "{'0': {'$facet': {'x': []}}}",       "{'0': {'$addFields': {'z': 1}}, '1': {'$sort': {'z': 1}}}",
        "{'0': {'$sample': {'size': 1000}}}", "{'0': {'$setWindowFields': {'output': {'n': {'$count': {}}}}}}",
    };
    struct doc_db t;
    struct chance chance;
    chance_init(&chance, 5);
    doc_open(&t);
    fill(&t, &chance, 200);
    t.op.memory_max = 8192;
    for (size_t i = 0; i < sizeof(heavy) / sizeof(heavy[0]); i++) {
        struct pipeline_request req = pipeline_of(heavy[i]);
        status st;
        free(rows_of(&t, &req, false, &st));
        cr_assert_eq(t.err.code, 292, "%s: %d %s", heavy[i], t.err.code, t.err.text);
    }
    doc_close(&t);
}
